// Tests that need no host: `npm test`. The conformance suite, `reflow-tracing plugin test`, checks the rest.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InvalidArgument, Unsupported, Uuid } from '#sdk';
import { placeOfToken, select, tokenOf } from '../src/query.js';

const ALL = { tags: [], more: [], ascending: false };
const PAGE = { limit: 10, offset: 0n };

test('a query has a condition and a parameter for each predicate', () => {
    const query = { ...ALL, flowId: 'billing', eventTypes: ['A', 'B'], tags: [['env', '']], hasError: false };
    const [statement, parameters] = select(query, PAGE);
    for (const part of ['flow_id = ?', 'e.kind IN (?, ?)', 'FROM tag', 'NOT (status', 'start_time DESC']) {
        assert.ok(statement.includes(part), part);
    }
    assert.deepEqual(parameters, ['billing', 'A', 'B', 'env', '', 11, 0n]);
    assert.equal(statement.match(/\?/g).length, parameters.length);
});

test('a page continues after the place in its token', () => {
    const id = new Uuid(1n, 2n).toBytes();
    const token = tokenOf(-5n, id);
    assert.deepEqual(placeOfToken(token), [-5n, id]);
    const [statement, parameters] = select({ ...ALL, ascending: true }, { ...PAGE, token });
    assert.ok(statement.includes('start_time > ?'), statement);
    assert.deepEqual(parameters, [-5n, -5n, id, 11, 0n]);
});

test('an offset is within what the database takes', () => {
    const [, parameters] = select(ALL, { limit: 1, offset: (1n << 64n) - 1n });
    assert.equal(parameters.at(-1), (1n << 63n) - 1n);
});

test('a predicate that is not known is refused', () => {
    assert.throws(() => select({ ...ALL, more: [['colour', 'red']] }, PAGE), Unsupported);
});

test('a token of somebody else is refused', () => {
    assert.throws(() => placeOfToken(new Uint8Array(23)), InvalidArgument);
});
