/**
 * A failure that has no case of its own. Throw it, or one of the classes below, from any function of a backend. Operators read
 * the message: it names what failed, why, and what to do.
 */
export class StorageError extends Error {
    constructor(message: string, options?: { retryable?: boolean; cause?: unknown });
    /** Whether the same call may succeed later. */
    readonly retryable: boolean;
}
declare class Case extends StorageError {
    constructor(message: string, options?: { cause?: unknown });
}
/** The request, or the configuration of the plugin, is invalid. */
export class InvalidArgument extends Case {}
/** Something that the request names does not exist. */
export class NotFound extends Case {}
/** A conflict with a concurrent write. The host may call again. */
export class Conflict extends Case {}
/** The store can't be reached or is overloaded. The host may call again. */
export class Unavailable extends Case {}
/** A limit of the store is reached: disk, quota, size. */
export class Exhausted extends Case {}
/** This plugin does not do that. */
export class Unsupported extends Case {}
export {};
