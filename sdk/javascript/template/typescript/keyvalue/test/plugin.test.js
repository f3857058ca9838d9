// Tests that need no host: `npm test`. The conformance suite, `reflow-tracing plugin test`, checks the rest.
import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { InvalidArgument, Uuid } from '#sdk';
import { events, reset, trace } from '#sdk/testing/index';
import { decodeHeader, encodeHeader } from '../src/header.ts';
import { Store } from '../src/plugin.ts';

beforeEach(() => reset());

const ALL = { tags: [], more: [], ascending: false };
const found = (store, query = {}) => store.queryTraces({ ...ALL, ...query }, { limit: 10, offset: 0n }).bodies;

test('a header comes back with all of its digits', () => {
    const header = trace({ startTime: -(1n << 63n), endTime: (1n << 63n) - 1n, error: '', tags: [['a', 'é']] });
    const { traceId, ...fields } = header;
    assert.deepEqual(decodeHeader(encodeHeader(header)), fields);
});

test('traces come latest first, equal starts by their ids', () => {
    const store = new Store({});
    const [first, second, third] = [[1n, 5n], [2n, 5n], [3n, 4n]].map(([id, startTime]) => trace({ traceId: new Uuid(0n, id), startTime }));
    store.storeTraces([third, second, first]);
    assert.deepEqual(found(store), [first, second, third].map((one) => one.body));
    assert.deepEqual(found(store, { ascending: true }), [third, first, second].map((one) => one.body));
});

test('a page continues where the one before ended', () => {
    const store = new Store({});
    const traces = Array.from({ length: 600 }, (_, index) => trace({ startTime: BigInt(index % 7) }));
    store.storeTraces(traces);
    const seen = [];
    for (let token; ; ) {
        const { bodies, next } = store.queryTraces(ALL, { limit: 7, offset: 0n, token });
        seen.push(...bodies.map(String));
        if (next === undefined) break;
        token = next;
    }
    assert.equal(new Set(seen).size, traces.length);
    assert.equal(seen.length, traces.length);
});

test('an actor whose id is too long for a key is found', () => {
    const store = new Store({});
    const one = trace();
    store.storeTraces([one, trace()]);
    store.storeEvents(events({ traceId: one.traceId, actorId: `${'long'.repeat(300)} end` }));
    assert.deepEqual(found(store, { actor: 'g end' }), [one.body]);
});

test('events come by time, also when they are stored twice', () => {
    const store = new Store({});
    const traceId = new Uuid(1n, 2n);
    const stored = events({ traceId, timestamp: 2n }, { traceId, timestamp: -1n });
    store.storeEvents(stored);
    store.storeEvents(stored);
    const page = store.getEvents(traceId, { limit: 10, offset: 0n });
    assert.deepEqual([...page.events.column('timestamp')], [-1n, 2n]);
    assert.equal(store.getEvents(traceId, { limit: 10, offset: 1n }).events.length, 1);
    assert.equal(store.deleteTraces([traceId]), 1);
    assert.equal(store.getStats().events, 0n);
});

test('a setting that the plugin does not have is refused', () => {
    assert.throws(() => new Store({ ttl: 1 }), InvalidArgument);
});
