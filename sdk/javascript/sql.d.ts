import type { Events, Field } from './events.js';
import type { Uuid } from './uuid.js';

/** A value from a database. What it has no type for comes as text. */
export type Value = null | boolean | bigint | number | string | Uint8Array;
/** A value to a database. A whole number is bound as an integer, a Uuid as its 16 bytes. */
export type Parameter = Value | Uuid | undefined;

/** Where a parameter of a batch statement comes from. */
export interface Binding {
    readonly tag: 'field' | 'high' | 'low' | 'fixed' | 'looked-up';
}
/** A field of the event; an absent value is NULL. */
export function field(name: Field): Binding;
/** The halves of a UUID field, as the bits of a signed number of 64 bits. */
export function high(name: Field): Binding;
export function low(name: Field): Binding;
/** The same value for every row. */
export function fixed(value: Parameter): Binding;
/** The value that a statement returns for a UUID field, which is its only parameter. It runs once for each distinct UUID. */
export function lookedUp(name: Field, statement: string): Binding;

declare class Statements {
    /** Runs a statement; several, separated by semicolons, if it has no parameters. Says how many rows the last one changed. */
    execute(statement: string, ...params: Parameter[]): bigint;
    /** Runs a statement once a row of parameters: all or none. Says how many rows changed. See `wit/deps/capabilities/sql.wit` on `...`. */
    executeMany(statement: string, rows: readonly (readonly Parameter[])[]): bigint;
    /** Runs a statement once an event: all or none. The events never enter the plugin. */
    insertBatch(statement: string, bindings: readonly Binding[], events: Events): bigint;
    /** The rows of a query, fetched as they are needed. */
    query(statement: string, ...params: Parameter[]): Generator<Value[]>;
    /** All rows of a query. */
    all(statement: string, ...params: Parameter[]): Value[][];
    /** A query whose column number `body`, from 0, holds bodies of events. The events never enter the plugin. */
    queryEvents(statement: string, params: readonly Parameter[], body?: number): Events;
}

/** A transaction, which takes its connection until it ends. */
export class Transaction extends Statements {
    private constructor();
}

/** A database. Each call may run on another connection. Errors are StorageErrors. */
export class Database extends Statements {
    private constructor();
    /** Opens the database that the operator granted under `label`, which is `default` unless given. */
    static open(label?: string): Database;
    /** `sqlite`, `postgresql` or `mysql`. */
    readonly dialect: string;
    /** Commits after `run`, or rolls back if it throws. */
    transaction<T>(run: (transaction: Transaction) => T): T;
}
export {};
