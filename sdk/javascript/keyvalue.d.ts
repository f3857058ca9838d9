import type { Events, Field } from './events.js';
import type { KeyPart } from './keys.js';

export { key, readTime, startsWith } from './keys.js';
export type { KeyPart } from './keys.js';

/** Bytes, or a text that stands for its UTF-8. */
export type Bytes = Uint8Array | string;

export interface Entry {
    key: Uint8Array;
    value: Uint8Array;
}

/** One change of `apply`. A value that is not given is empty. */
export type Change = { set: Bytes; value?: Bytes } | { delete: Bytes };

/** A piece of a key or of a value that the host fills in for each event. */
export interface EventPart {
    readonly tag: 'field' | 'sortable' | 'present';
    readonly val: Field;
}
/** The field as text; `body` is its bytes. */
export function field(name: Field): EventPart;
/** The field in bytes that sort like it: those of `key`. */
export function sortable(name: Field): EventPart;
/** `1` when the event has a value in this field, `0` when it is absent. */
export function present(name: Field): EventPart;

/** An entry for each event of a batch. A value that is not given is empty. */
export interface EventEntry {
    key: (KeyPart | EventPart)[];
    value?: (KeyPart | EventPart)[];
}

/** Where a listing begins: after `cursor`, which is a `next` of the same listing. */
export interface From {
    cursor?: Uint8Array;
    /** At least 1; 1,000 unless given. A page may be shorter although others follow. */
    limit?: number;
}

/** How long values last: milliseconds. Without it they do not expire. */
export interface Lifetime {
    ttl?: bigint;
}

/** Keys in the order of their bytes, each with a value. A key has at most 1 KiB, a value at most 16 MiB. Errors are StorageErrors. */
export class Bucket {
    private constructor(granted: unknown);
    /** Opens the bucket that the operator granted under `label`, which is `default` unless given. */
    static open(label?: string): Bucket;
    get(key: Bytes): Uint8Array | undefined;
    /** The values of several keys at one moment, in the order of the keys. */
    getMany(keys: readonly Bytes[]): (Uint8Array | undefined)[];
    set(key: Bytes, value: Bytes, options?: Lifetime): void;
    /** Returns whether the key existed. */
    delete(key: Bytes): boolean;
    /** Applies all changes or none, in order. */
    apply(changes: readonly Change[], options?: Lifetime): void;
    /** Sets `replacement`, or deletes when it is `undefined`, if the value is `expected` (`undefined`: no such key). Returns whether it was. */
    compareAndSet(key: Bytes, expected: Bytes | undefined, replacement: Bytes | undefined, options?: Lifetime): boolean;
    /** A page of the keys that begin with `prefix`, in order. */
    listKeys(prefix: Bytes, from?: From): { keys: Uint8Array[]; next?: Uint8Array };
    /** A page of the entries whose keys begin with `prefix`, in order. */
    scan(prefix: Bytes, from?: From & { reverse?: boolean }): { entries: Entry[]; next?: Uint8Array };
    /** All keys that begin with `prefix`, in order, fetched as they are needed. */
    keys(prefix: Bytes): Generator<Uint8Array>;
    /** All entries whose keys begin with `prefix`, in order, fetched as they are needed. */
    entries(prefix: Bytes, options?: { reverse?: boolean }): Generator<Entry>;
    /** How many keys begin with `prefix`. The cost grows with their number. */
    count(prefix: Bytes): bigint;
    /**
     * Sets these entries for each event, all or none; the events never enter the plugin. An event is skipped when the key of its first
     * entry exists. Returns how many were not skipped.
     */
    insertBatch(entries: readonly EventEntry[], events: Events, options?: Lifetime): bigint;
    /** A page of entries whose values are bodies of events. The events never enter the plugin. */
    scanEvents(prefix: Bytes, from?: From & { reverse?: boolean }): { events: Events; next?: Uint8Array };
}
