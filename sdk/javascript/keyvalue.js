// Ordered buckets of keys and values that the operator has granted.
import { Bucket as Granted } from 'reflow:capabilities/keyvalue';
import { call } from './errors.js';
import { Events } from './events.js';
import { bytesOf, key } from './keys.js';

export { key, readTime, startsWith } from './keys.js';

/** Entries per call: a compromise between the number of calls and the memory. */
const FETCH = 1_000;
const CAPABILITY = { grant: 'keyvalue', what: 'bucket' };

export const field = (name) => ({ tag: 'field', val: name });
export const sortable = (name) => ({ tag: 'sortable', val: name });
export const present = (name) => ({ tag: 'present', val: name });

export class Bucket {
    #granted;

    constructor(granted) {
        this.#granted = granted;
    }

    static open(label = 'default') {
        return new Bucket(call(CAPABILITY, () => Granted.open(label)));
    }

    get(key) {
        return this.#call((bucket) => bucket.get(bytesOf(key)));
    }

    getMany(keys) {
        return this.#call((bucket) => bucket.getMany(keys.map(bytesOf)));
    }

    set(key, value, { ttl } = {}) {
        this.#call((bucket) => bucket.set(bytesOf(key), bytesOf(value), ttl));
    }

    delete(key) {
        return this.#call((bucket) => bucket.delete(bytesOf(key)));
    }

    apply(changes, { ttl } = {}) {
        const converted = changes.map((change) =>
            'set' in change
                ? { tag: 'set', val: { key: bytesOf(change.set), value: bytesOf(change.value ?? '') } }
                : { tag: 'delete', val: bytesOf(change.delete) },
        );
        this.#call((bucket) => bucket.apply(converted, ttl));
    }

    compareAndSet(key, expected, replacement, { ttl } = {}) {
        const optional = (value) => (value === undefined ? undefined : bytesOf(value));
        return this.#call((bucket) => bucket.compareAndSet(bytesOf(key), optional(expected), optional(replacement), ttl));
    }

    listKeys(prefix, { cursor, limit = FETCH } = {}) {
        return this.#call((bucket) => bucket.listKeys(bytesOf(prefix), cursor, limit));
    }

    scan(prefix, { cursor, limit = FETCH, reverse = false } = {}) {
        return this.#call((bucket) => bucket.scan(bytesOf(prefix), cursor, limit, reverse));
    }

    *keys(prefix) {
        for (const { keys } of pages((cursor) => this.listKeys(prefix, { cursor }))) yield* keys;
    }

    *entries(prefix, { reverse = false } = {}) {
        for (const { entries } of pages((cursor) => this.scan(prefix, { cursor, reverse }))) yield* entries;
    }

    count(prefix) {
        return this.#call((bucket) => bucket.count(bytesOf(prefix)));
    }

    insertBatch(entries, events, { ttl } = {}) {
        const converted = entries.map((entry) => ({ key: parts(entry.key), value: parts(entry.value ?? []) }));
        return this.#call((bucket) => bucket.insertBatch(converted, events.batch, ttl));
    }

    scanEvents(prefix, { cursor, limit = FETCH, reverse = false } = {}) {
        const { events, next } = this.#call((bucket) => bucket.scanEvents(bytesOf(prefix), cursor, limit, reverse));
        return { events: new Events(events), next };
    }

    #call(run) {
        return call(CAPABILITY, () => run(this.#granted));
    }
}

/** The pages of a listing. */
function* pages(fetch) {
    let cursor;
    do {
        const page = fetch(cursor);
        yield page;
        cursor = page.next;
    } while (cursor !== undefined);
}

/** The parts of a key or a value: those that the host fills in are objects with a tag. */
function parts(list) {
    return list.map((part) => (part?.tag === undefined ? { tag: 'fixed', val: key(part) } : part));
}
