import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Backend, Conflict, Exhausted, InvalidArgument, NotFound, StorageError, Unavailable, Unsupported, plugin } from '../index.js';
import { fromCapability, report } from '../errors.js';
import { lines } from '../testing/index.js';
import { Refused } from '../testing/refused.js';

test('each class is a case of the contract', () => {
    for (const [type, tag] of [
        [InvalidArgument, 'invalid-argument'],
        [NotFound, 'not-found'],
        [Conflict, 'conflict'],
        [Unavailable, 'unavailable'],
        [Exhausted, 'exhausted'],
        [Unsupported, 'unsupported'],
    ]) {
        const error = new type('why');
        assert.ok(error instanceof StorageError && error.name === type.name);
        assert.deepEqual(report(error), { error: { tag, val: 'why' } });
    }
    const other = report(new StorageError('why', { retryable: true }));
    assert.deepEqual(other, { error: { tag: 'other', val: { message: 'why', retryable: true } } });
});

test('errors of capabilities become those of the contract', () => {
    const capability = { grant: 'keyvalue', what: 'bucket' };
    for (const [tag, val, type, part] of [
        ['no-such-label', 'default', InvalidArgument, 'grants = { keyvalue = { default = "..." } }'],
        ['invalid-argument', 'a limit of 0', InvalidArgument, 'a limit of 0'],
        ['access-denied', 'no', InvalidArgument, 'no'],
        ['pool-exhausted', undefined, Unavailable, 'too many connections'],
        ['timeout', undefined, Unavailable, 'in time'],
        ['connection-lost', 'reset', Unavailable, 'reset'],
        ['unavailable', 'refused', Unavailable, 'refused'],
        ['limit-exceeded', 'a key', Exhausted, 'a key'],
        ['other', 'what', StorageError, 'what'],
    ]) {
        const error = fromCapability(new Refused(tag, val), capability);
        assert.ok(error instanceof type, tag);
        assert.ok(error.message.includes(part), error.message);
    }
    const locked = fromCapability(new Refused('database', { code: '5', message: 'locked', retryable: true }), capability);
    assert.ok(locked.retryable && locked.message === 'locked (5)');
    const mistake = new TypeError('a mistake of the plugin');
    assert.equal(fromCapability(mistake, capability), mistake);
});

test('a mistake of the plugin is an error with its type, its text and its place, and is logged with its stack', () => {
    class Broken extends Backend {
        getStats() {
            return undefined.traces;
        }
        async healthCheck() {
            throw { code: 7n };
        }
    }
    const { backend } = plugin(Broken);
    assert.throws(() => backend.getStats(), (error) => error.val.message === 'called before it was opened');
    assert.deepEqual(backend.open('{}'), { name: 'reflow-tracing-plugin', version: '0.1.0', features: [] });
    lines.length = 0;
    assert.throws(() => backend.getStats(), (error) => error.tag === 'other' && error.val.message.startsWith('TypeError: '));
    assert.equal(lines.length, 1);
    assert.ok(lines[0].level === 'error' && lines[0].message.includes('getStats'), lines[0].message);
    return assert.rejects(backend.healthCheck(), (error) => error.val.message.includes('"7"'));
});

test('what a plugin does not override is unsupported', () => {
    const { backend, maintenance, expiry } = plugin(Backend);
    backend.open('{}');
    for (const name of ['storeTraces', 'getTraces', 'deleteTraces']) {
        assert.throws(() => backend[name]([]), (error) => error.tag === 'unsupported');
    }
    assert.equal(backend.healthCheck(), undefined);
    assert.equal(maintenance.maintain(), undefined);
    assert.equal(expiry.dropOldest(0n), 0n);
});
