import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InvalidArgument } from '#sdk';
import { readSettings } from '../src/settings.js';

const url = 'https://hooks.example.com/traces';

test('settings have defaults, except the URL', () => {
    const settings = readSettings({ url });
    assert.deepEqual([settings.url, settings.secret, settings.attempts], [url, 'signing', 4]);
    assert.throws(() => readSettings({}), (error) => error instanceof InvalidArgument && error.message.includes('`url` is missing'));
});

test('a mistake in a setting names it and what it must be', () => {
    for (const [config, part] of [
        [{ url: 'ftp://example.com' }, '`url`'],
        [{ url: 'https://user:word@example.com' }, '`url`'],
        [{ url, attempts: 0 }, 'a number from 1 to 10'],
        [{ url, attempts: 1.5 }, '`attempts` is 1.5'],
        [{ url, secret: '' }, '`secret`'],
        [{ url, headers: { a: 1 } }, '`headers`'],
        [{ url, headers: { 'a b': 'c' } }, '`headers`'],
        [{ url, headers: { a: 'b\r\nc: d' } }, '`headers`'],
        [{ url, headers: { 'Webhook-Id': 'x' } }, 'is set by the plugin'],
        [{ url, atempts: 2 }, 'attempts, backoff_ms'],
    ]) {
        assert.throws(() => readSettings(config), (error) => error instanceof InvalidArgument && error.message.includes(part), part);
    }
});
