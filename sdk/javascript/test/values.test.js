import assert from 'node:assert/strict';
import { test } from 'node:test';
import { key, readTime, startsWith } from '../keys.js';
import { dateOf, formatTime, parseTime, timeOf } from '../time.js';
import { Uuid } from '../uuid.js';

const LEAST = -(1n << 63n);
const GREATEST = (1n << 63n) - 1n;

test('a UUID comes back from its text and from its bytes', () => {
    for (const text of ['00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '01234567-89ab-cdef-8123-456789abcdef']) {
        const uuid = Uuid.parse(text);
        assert.equal(String(uuid), text);
        assert.ok(Uuid.fromBytes(uuid.toBytes()).equals(uuid));
        assert.ok(Uuid.fromBytes(key('a', uuid, 'b'), 1).equals(uuid));
    }
    assert.equal(Uuid.parse('0123456789abcdef8123456789abcdef').high, 0x0123456789abcdefn);
});

test('a text that is not a UUID is refused', () => {
    for (const text of ['', '0123', '01234567-89ab-cdef-8123-456789abcdeg']) assert.throws(() => Uuid.parse(text), /is not a UUID/);
    assert.throws(() => Uuid.fromBytes(new Uint8Array(15)), RangeError);
});

test('UUIDs sort like their bytes', () => {
    const [low, high] = [new Uuid(1n, (1n << 64n) - 1n), new Uuid(2n, 0n)];
    assert.ok(low.compare(high) < 0 && high.compare(low) > 0);
    assert.equal(low.compare(new Uuid(1n, (1n << 64n) - 1n)), 0);
});

test('keys sort like the times that they are made of', () => {
    const times = [LEAST, LEAST + 1n, -1n, 0n, 1n, 1n << 53n, (1n << 53n) + 1n, GREATEST];
    const digits = times.map((time) => Buffer.from(key('t', time)).toString('hex'));
    assert.deepEqual([...digits].sort(), digits);
    for (const time of times) assert.equal(readTime(key('t', time), 1), time);
});

test('a key holds its parts, one after another', () => {
    assert.deepEqual(key('é', new Uint8Array([0, 255]), ''), new Uint8Array([0xc3, 0xa9, 0, 255]));
    assert.throws(() => key(1n << 63n), RangeError);
    assert.throws(() => key(1), /a key is made of/);
    assert.ok(startsWith(key('ab'), key('a')) && !startsWith(key('a'), key('ab')) && startsWith(key('a'), key()));
});

test('times come back from RFC 3339 with all of their nanoseconds', () => {
    for (const [time, text] of [
        [0n, '1970-01-01T00:00:00Z'],
        [-1n, '1969-12-31T23:59:59.999999999Z'],
        [1_700_000_000_123_456_789n, '2023-11-14T22:13:20.123456789Z'],
        [LEAST, '1677-09-21T00:12:43.145224192Z'],
        [GREATEST, '2262-04-11T23:47:16.854775807Z'],
    ]) {
        assert.equal(formatTime(time), text);
        assert.equal(parseTime(text), time);
    }
    assert.equal(parseTime('2023-11-14T23:13:20.5+01:00'), 1_700_000_000_500_000_000n);
    for (const text of ['', 'today', '2023-11-14', '2263-01-01T00:00:00Z']) assert.throws(() => parseTime(text));
});

test('a date is the time rounded down to a millisecond', () => {
    assert.equal(dateOf(-1n).toISOString(), '1969-12-31T23:59:59.999Z');
    assert.equal(timeOf(new Date(1_700_000_000_123)), 1_700_000_000_123_000_000n);
    assert.throws(() => timeOf(new Date(NaN)), RangeError);
});
