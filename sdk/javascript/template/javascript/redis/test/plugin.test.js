// Tests that need no host: `npm test`. The conformance suite, `reflow-tracing plugin test`, checks the rest.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InvalidArgument, StorageError, Uuid } from '#sdk';
import { trace } from '#sdk/testing/index';
import { decodeHeader, encodeHeader, matchesHeader } from '../src/header.js';
import { placeOf } from '../src/keys.js';
import { checkedToken } from '../src/query.js';

test('a header comes back with all of its digits', () => {
    const header = trace({ startTime: -(1n << 63n), endTime: (1n << 63n) - 1n, error: '', tags: [['a', 'é']] });
    const { traceId, ...fields } = header;
    assert.deepEqual(decodeHeader(encodeHeader(header)), fields);
});

test('what is not a header is an error that says so', () => {
    assert.throws(() => decodeHeader(new Uint8Array(3)), StorageError);
});

test('a header matches when all predicates hold', () => {
    const header = trace({ flowId: 'billing', startTime: 5n, endTime: 8n, tags: [['env', 'prod']] });
    const query = { flowId: 'billing', tags: [['env', 'prod']], startFrom: 5n, minDuration: 3n, maxDuration: 3n, more: [], ascending: false };
    assert.ok(matchesHeader(query, header));
    for (const other of [{ flowId: 'x' }, { tags: [['env', '']] }, { startTo: 4n }, { minDuration: 4n }, { status: 'failed' }]) {
        assert.ok(!matchesHeader({ ...query, ...other }, header), JSON.stringify(Object.keys(other)));
    }
});

test('places sort by start in the order of the index, then by id', () => {
    const [first, second] = [new Uuid(0n, 1n), new Uuid(0n, 2n)];
    const sorted = (places) => places.map((place) => Buffer.from(place)).every((place, at, all) => at === 0 || Buffer.compare(all[at - 1], place) < 0);
    const extremes = [-(1n << 63n), -1n, 0n, (1n << 63n) - 1n];
    assert.ok(sorted(extremes.flatMap((start) => [placeOf(start, first, true), placeOf(start, second, true)])));
    assert.ok(sorted(extremes.reverse().flatMap((start) => [placeOf(start, first, false), placeOf(start, second, false)])));
});

test('a token of somebody else is refused', () => {
    assert.throws(() => checkedToken(new Uint8Array(23)), InvalidArgument);
});
