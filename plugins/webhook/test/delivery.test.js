import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StorageError, Unavailable } from '#sdk';
import { deliver, retryAfter } from '../src/delivery.js';
import { ofEvents, ofTraces } from '../src/payload.js';
import { sign, signatureOf } from '../src/signature.js';

const settings = { url: 'http://receiver', attempts: 4, backoff_ms: 200, timeout_ms: 2_000, total_ms: 4_500 };
const bytes = (text) => new TextEncoder().encode(text);
const texts = (bodies) => bodies.map((body) => new TextDecoder().decode(body));

/** A receiver that gives these answers, one after another, and a clock that only waiting moves. */
function receiver(...answers) {
    const seen = { attempts: 0, waits: [] };
    let time = 0;
    const send = async () => {
        const answer = answers[Math.min(seen.attempts, answers.length - 1)];
        seen.attempts += 1;
        if (answer instanceof Error) throw answer;
        return answer;
    };
    const wait = async (milliseconds) => {
        seen.waits.push(milliseconds);
        time += milliseconds;
    };
    return { seen, means: { send, wait, now: () => time } };
}

test('attempts are repeated with growing pauses until one succeeds', async () => {
    const { seen, means } = receiver(new Error('refused'), { status: 503 }, { status: 429 }, { status: 204 });
    assert.equal(await deliver(bytes(''), settings, means), 4);
    assert.deepEqual(seen.waits, [200, 400, 800]);
});

test('after the last attempt the host may call again', async () => {
    const { seen, means } = receiver({ status: 500 });
    await assert.rejects(deliver(bytes(''), settings, means), (error) => error instanceof Unavailable && /http:\/\/receiver .* 500/.test(error.message));
    assert.equal(seen.attempts, 4);
});

test('no attempt begins after the time for all of them', async () => {
    const { seen, means } = receiver({ status: 503, retryAfter: 3_000 });
    await assert.rejects(deliver(bytes(''), settings, means), Unavailable);
    assert.deepEqual([seen.attempts, seen.waits], [2, [3_000]]);
});

test('a refusal is final', async () => {
    for (const status of [301, 400, 401, 404]) {
        const { seen, means } = receiver({ status });
        await assert.rejects(deliver(bytes(''), settings, means), (error) => error instanceof StorageError && !error.retryable);
        assert.equal(seen.attempts, 1);
    }
});

test('Retry-After has seconds or a date', () => {
    const now = Date.parse('2026-01-01T00:00:00Z');
    assert.equal(retryAfter('2', now), 2_000);
    assert.equal(retryAfter('Thu, 01 Jan 2026 00:00:03 GMT', now), 3_000);
    assert.equal(retryAfter('Thu, 01 Jan 2015 00:00:00 GMT', now), 0);
    for (const value of [null, '', 'soon']) assert.equal(retryAfter(value, now), undefined);
});

test('the signature is that of the published example', async () => {
    const secret = bytes('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n');
    const signature = await signatureOf(secret, 'msg_p5jXN8AQM9LWM0D4loKWxJek', '1614265330', bytes('{"test": 2432232314}'));
    assert.equal(signature, 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=');
});

test('the same body has the same id at any time', async () => {
    const ids = await Promise.all([0, 5_000].map((now) => sign(bytes('secret'), bytes('body'), now)));
    assert.equal(ids[0]['webhook-id'], ids[1]['webhook-id']);
    assert.equal(ids[1]['webhook-timestamp'], '5');
    assert.notEqual(ids[0]['webhook-signature'], ids[1]['webhook-signature']);
});

test('a batch is split where it exceeds the limit, and no number changes', () => {
    const events = ['{"n":9007199254740993}', '{"text":"é"}', '{}'];
    const [all] = texts(ofEvents(['a', 'b', 'c'], events, 1_000));
    assert.equal(all, '{"type":"events","events":[{"trace_id":"a","event":{"n":9007199254740993}},{"trace_id":"b","event":{"text":"é"}},{"trace_id":"c","event":{}}]}');
    const limit = 80;
    const split = ofEvents(['a', 'b', 'c'], events, limit);
    assert.ok(split.length > 1 && split.every((body) => body.length <= limit), texts(split).join('\n'));
    assert.deepEqual(texts(split).flatMap((body) => JSON.parse(body).events), JSON.parse(all).events);
    assert.equal(ofTraces(['{"long":"0123456789"}'], 10).length, 1);
    assert.deepEqual(ofTraces([], 10), []);
});
