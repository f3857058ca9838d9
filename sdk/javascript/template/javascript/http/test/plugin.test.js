// Tests that need no host: `npm test`. The suite for forwarders, `reflow-tracing plugin test`, checks the rest.
import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { InvalidArgument, StorageError, Unavailable } from '#sdk';
import { events, trace } from '#sdk/testing/index';
import { bodies, Forwarder } from '../src/plugin.js';

const url = 'https://example.com/traces';
let posted;
let status;

beforeEach(() => {
    posted = [];
    status = 200;
    globalThis.fetch = async (address, { body }) => {
        assert.equal(address, url);
        if (status === undefined) throw new TypeError('refused');
        posted.push(body);
        return new Response('', { status });
    };
});

const lines = () => posted.flatMap((body) => body.trimEnd().split('\n').map((line) => JSON.parse(line)));

test('a line is posted for each header and for each event with its trace', async () => {
    const [one, batch] = [trace(), events({ actorId: 'é' }, {})];
    const forwarder = new Forwarder({ url });
    await forwarder.storeTraces([one]);
    assert.deepEqual(lines(), [{ header: `header of ${one.traceId}` }]);
    posted = [];
    await forwarder.storeEvents(batch);
    assert.deepEqual(lines().map((line) => line.trace_id), Array.from(batch.column('trace-id'), String));
    assert.equal(lines()[0].event.actorId, 'é');
});

test('a large batch is posted in parts that hold each line once', () => {
    const many = Array.from({ length: 10 }, (_, index) => `${index}`.repeat(100_000));
    const parts = [...bodies([...many, 'z'.repeat(1_000_000)])];
    assert.ok(parts.length > 3);
    assert.equal(parts.join(''), [...many, 'z'.repeat(1_000_000), ''].join('\n'));
});

test('an answer says whether a retry can help', async () => {
    const forwarder = new Forwarder({ url });
    for (status of [500, 503, 429, undefined]) {
        await assert.rejects(forwarder.storeTraces([trace()]), (error) => error instanceof Unavailable && error.message.includes(url));
    }
    status = 400;
    await assert.rejects(forwarder.storeTraces([trace()]), (error) => error instanceof StorageError && !error.retryable);
});

test('settings are checked', () => {
    for (const config of [{}, { url: 5 }, { url: 'example.com' }, { url, ttl: 1 }]) {
        assert.throws(() => new Forwarder(config), InvalidArgument);
    }
});
