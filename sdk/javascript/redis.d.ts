import type { StorageError } from './errors.js';
import type { Events, Field } from './events.js';
import type { KeyPart } from './keys.js';

/** A part of a command: its name, a key or an argument. A bigint is 8 bytes that sort like it, a number its decimal digits. */
export type Part = KeyPart | number;
/** What the server answers; a StorageError for a command that it refused. */
export type Reply = undefined | bigint | string | Uint8Array | StorageError | Reply[];

/** A piece of an argument that the host fills in for each event. */
export interface EventPart {
    readonly tag: 'field' | 'sortable' | 'present';
    readonly val: Field;
}
/** The field as text; `body` is its bytes. */
export function field(name: Field): EventPart;
/** The field in bytes that sort like it. */
export function sortable(name: Field): EventPart;
/** `1` when the event has a value in this field, `0` when it is absent. */
export function present(name: Field): EventPart;
/** An argument of several parts. */
export function joined(...parts: (Part | EventPart)[]): Joined;
export interface Joined {
    readonly parts: readonly (Part | EventPart)[];
}
/** A command for each event. */
export type Template = readonly (Part | EventPart | Joined)[];

/** A server. Keys live under the prefix of the grant. Errors are StorageErrors. */
export class Redis {
    private constructor(granted: unknown);
    /** The server that the operator granted under `label`, which is `default` unless given. */
    static open(label?: string): Redis;
    /** Runs a command. Throws what the server refuses. */
    command(...parts: Part[]): Exclude<Reply, StorageError>;
    /** Runs the commands in one round trip, in order. A command that the server refuses does not keep the others from running. */
    pipeline(commands: readonly (readonly Part[])[]): Reply[];
    /** Runs the commands as one transaction if every key has its expected value. Otherwise nothing runs, and the answer is `undefined`. */
    atomically(expected: readonly { key: KeyPart; value?: KeyPart }[], commands: readonly (readonly Part[])[]): Reply[] | undefined;
    /**
     * Runs the commands once per event; the events never enter the plugin. An event is skipped when `unless` answers with anything but 0
     * or nil. Returns how many commands ran.
     */
    pipelineBatch(commands: readonly Template[], events: Events, options?: { unless?: Template }): bigint;
    /** Runs a Lua script. Needs its own grant (`scripts = true`). */
    eval(script: string, keys: readonly Part[], args: readonly Part[]): Reply;
    /** Runs commands that answer with bodies of events. The events stay in the host. */
    queryEvents(commands: readonly (readonly Part[])[]): Events;
}
