import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Events, StorageError, Uuid } from '../index.js';
import { joined, joinedTexts, pieces, split } from '../events.js';
import { events } from '../testing/index.js';

test('texts of several bytes a character are split at their ends', () => {
    for (const texts of [[], [''], ['a', '', 'b'], ['é', '\u{1f600}', '', 'a\0b', '\ufeff']]) {
        assert.deepEqual(split(joinedTexts(texts)), texts);
    }
});

test('blobs come back', () => {
    const blobs = [new Uint8Array(), new Uint8Array([0, 255]), new Uint8Array([1])];
    assert.deepEqual(pieces(joined(blobs)), blobs);
});

test('columns, rows and records have the same values', () => {
    const traceId = Uuid.parse('01234567-89ab-cdef-8123-456789abcdef');
    const timestamp = (1n << 62n) + 1n;
    const batch = events({ traceId, timestamp, actorId: 'é' }, { actorId: '', error: '' });
    assert.equal(batch.length, 2);
    const [times, actors] = batch.columns('timestamp', 'actor-id');
    assert.equal(times[0], timestamp);
    assert.deepEqual(actors, ['é', '']);
    assert.ok(batch.column('trace-id')[0].equals(traceId));
    assert.deepEqual(batch.present('error'), [false, true]);
    assert.equal([...batch.rows('timestamp', 'actor-id')][0].timestamp, timestamp);
    assert.equal(String([...batch][0].traceId), String(traceId));
});

test('a batch is made of bodies', () => {
    const bodies = [...events({ actorId: 'one' }, { actorId: 'two' })].map((event) => event.body);
    assert.deepEqual(Events.ofBodies(bodies).column('actor-id'), ['one', 'two']);
    assert.throws(() => Events.ofBodies([new Uint8Array([1])]), StorageError);
    assert.throws(() => Events.ofBodies(bodies).column('colour'), /colour/);
});
