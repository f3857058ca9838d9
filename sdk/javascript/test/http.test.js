import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Unavailable } from '../errors.js';
import { request } from '../http.js';

const url = 'https://example.com/';

test('an answer of any status is returned', async () => {
    globalThis.fetch = async (address, options) => new Response(`${options.method} ${address}`, { status: 503 });
    const response = await request(url, { method: 'POST' });
    assert.equal(response.status, 503);
    assert.equal(await response.text(), `POST ${url}`);
});

test('no answer in time is an error that a retry can help', async () => {
    globalThis.fetch = () => new Promise(() => {});
    await assert.rejects(request(url, {}, { timeout: 5 }), (error) => error instanceof Unavailable && error.message.includes('within 5 ms'));
});

test('what fetch throws is named with the address', async () => {
    globalThis.fetch = () => Promise.reject(new TypeError('refused'));
    await assert.rejects(request(url), (error) => error instanceof Unavailable && error.message.includes(`${url} can't be reached: refused`));
});
