// Buckets in memory, without expiry. Each has the label that it is opened with.
import { key, startsWith } from '../keys.js';
import { Uuid } from '../uuid.js';
import { EventBatch, decode, value } from './batch.js';
import { Refused } from './refused.js';

const buckets = new Map();
const KEY_BYTES = 1024;

/** Empties all buckets. */
export const reset = () => buckets.forEach((bucket) => bucket.entries.clear());

export class Bucket {
    /** By the digits of the key, which sort like its bytes. */
    entries = new Map();

    static open(label) {
        if (!buckets.has(label)) buckets.set(label, new Bucket());
        return buckets.get(label);
    }

    get(name) {
        return this.entries.get(digits(name));
    }

    getMany(names) {
        return names.map((name) => this.get(name));
    }

    set(name, content) {
        if (name.length > KEY_BYTES) throw new Refused('limit-exceeded', `a key has ${name.length} bytes; the limit is ${KEY_BYTES}`);
        this.entries.set(digits(name), content.slice());
    }

    delete(name) {
        return this.entries.delete(digits(name));
    }

    apply(changes) {
        const before = new Map(this.entries);
        try {
            for (const { tag, val } of changes) tag === 'set' ? this.set(val.key, val.value) : this.delete(val);
        } catch (error) {
            this.entries = before;
            throw error;
        }
    }

    compareAndSet(name, expected, replacement) {
        const found = this.get(name);
        if ((found === undefined) !== (expected === undefined) || (found && digits(found) !== digits(expected))) return false;
        replacement === undefined ? this.delete(name) : this.set(name, replacement);
        return true;
    }

    listKeys(prefix, cursor, limit) {
        const { entries, next } = this.scan(prefix, cursor, limit, false);
        return { keys: entries.map((entry) => entry.key), next };
    }

    scan(prefix, cursor, limit, reverse) {
        const after = (name) => cursor === undefined || (reverse ? name < digits(cursor) : name > digits(cursor));
        const names = [...this.entries.keys()].filter((name) => startsWith(bytes(name), prefix) && after(name)).sort();
        if (reverse) names.reverse();
        const entries = names.slice(0, limit).map((name) => ({ key: bytes(name), value: this.entries.get(name) }));
        return { entries, next: names.length > limit ? entries[limit - 1].key : undefined };
    }

    count(prefix) {
        return BigInt(this.scan(prefix, undefined, Infinity, false).entries.length);
    }

    insertBatch(templates, batch) {
        const joined = (parts, row) => key(...parts.map((part) => piece(part, row)));
        const changes = [];
        const taken = new Set(this.entries.keys());
        let stored = 0n;
        for (const row of batch.rows) {
            const entries = templates.map((entry) => ({ key: joined(entry.key, row), value: joined(entry.value, row) }));
            if (taken.has(digits(entries[0].key))) continue;
            taken.add(digits(entries[0].key));
            changes.push(...entries.map((entry) => ({ tag: 'set', val: entry })));
            stored += 1n;
        }
        this.apply(changes);
        return stored;
    }

    scanEvents(prefix, cursor, limit, reverse) {
        const { entries, next } = this.scan(prefix, cursor, limit, reverse);
        return { events: EventBatch.of(entries.map((entry) => decode(entry.value))), next };
    }
}

const digits = (bytes) => Buffer.from(bytes).toString('hex');
const bytes = (digits) => new Uint8Array(Buffer.from(digits, 'hex'));

function piece({ tag, val }, row) {
    if (tag === 'fixed') return val;
    const found = value(row, val);
    if (tag === 'present') return found === undefined ? '0' : '1';
    const uuid = found?.high === undefined ? undefined : new Uuid(found.high, found.low);
    if (tag === 'sortable') return uuid ?? found ?? '';
    return uuid === undefined ? (ArrayBuffer.isView(found) ? found : String(found ?? '')) : String(uuid);
}
