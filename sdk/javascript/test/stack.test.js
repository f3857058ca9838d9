import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { locate, trace } from '../stack.js';

afterEach(() => delete globalThis.reflowSourceMap);

/** An error with the stack that SpiderMonkey gives. */
function thrown(...frames) {
    const error = new TypeError('broken');
    error.stack = frames.join('\n');
    return error;
}

test('places are those of the author\'s files', () => {
    // Line 1 of the bundle is line 3 of the first source, line 2 is line 10 of the second.
    globalThis.reflowSourceMap = { file: 'plugin.bundle.js', sources: ['sdk/keys.js', 'src/plugin.ts'], mappings: 'AAEA,IAAI;ACOI' };
    const error = thrown('key@plugin.bundle.js:1:2', 'storeEvents@plugin.bundle.js:2:9', 'call@initializer.js:3:4');
    assert.equal(locate(error), 'src/plugin.ts:10:9');
    assert.equal(trace(error), '    at key (sdk/keys.js:3:1)\n    at storeEvents (src/plugin.ts:10:9)\n    at call@initializer.js:3:4');
});

test('a stack without a source map is shown as it is', () => {
    const error = thrown('key@plugin.bundle.js:1:2');
    assert.equal(locate(error), undefined);
    assert.equal(trace(error), '    at key@plugin.bundle.js:1:2');
});

test('the cause follows', () => {
    const error = thrown('a@b.js:1:1');
    error.cause = thrown('c@d.js:2:2');
    assert.match(trace(error), /a@b.js:1:1\ncaused by TypeError: broken\n    at c@d.js:2:2/);
});
