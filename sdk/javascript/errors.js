// The errors of the contract, and the conversion of everything else that may be thrown.
import { locate, trace } from './stack.js';

export class StorageError extends Error {
    constructor(message, { retryable = false, cause } = {}) {
        super(message, cause === undefined ? undefined : { cause });
        this.name = new.target.name;
        this.retryable = retryable;
    }

    /** The error as the contract writes it. */
    toContract() {
        return { tag: 'other', val: { message: this.message, retryable: this.retryable } };
    }
}

/** An error that is a case of its own in the contract, which says whether the host may call again. */
const contractCase = (tag, retryable) =>
    class extends StorageError {
        constructor(message, { cause } = {}) {
            super(message, { retryable, cause });
        }

        toContract() {
            return { tag, val: this.message };
        }
    };

export class InvalidArgument extends contractCase('invalid-argument', false) {}
export class NotFound extends contractCase('not-found', false) {}
export class Conflict extends contractCase('conflict', true) {}
export class Unavailable extends contractCase('unavailable', true) {}
export class Exhausted extends contractCase('exhausted', false) {}
export class Unsupported extends contractCase('unsupported', false) {}

/**
 * What `error`, thrown by the plugin, is to the host, and what to write to the log about it: nothing about an error of the
 * contract, whose message says all.
 */
export function report(error) {
    if (error instanceof StorageError) return { error: error.toContract() };
    const text = error instanceof Error ? `${error.name}: ${error.message}` : `it threw ${describe(error)}`;
    const place = error instanceof Error ? locate(error) : undefined;
    return {
        error: { tag: 'other', val: { message: place === undefined ? text : `${text} (${place})`, retryable: false } },
        logged: error instanceof Error ? `${text}\n${trace(error)}` : text,
    };
}

/** A value that is not an Error, for a message. */
function describe(value) {
    if (typeof value !== 'object' || value === null) return typeof value === 'string' ? JSON.stringify(value) : String(value);
    try {
        return JSON.stringify(value, (_, part) => (typeof part === 'bigint' ? String(part) : part));
    } catch {
        return String(value);
    }
}

/**
 * The error of the contract for an error of a capability.
 *
 * What a capability throws has its error as `payload`: a name, and mostly a value.
 */
export function fromCapability(thrown, { grant, what }) {
    const error = thrown?.payload;
    if (error === undefined || error === null) return thrown;
    const { tag, val } = typeof error === 'object' ? error : { tag: 'other', val: String(error) };
    const options = { cause: thrown };
    switch (tag) {
        case 'no-such-label':
            return new InvalidArgument(
                `no ${what} is granted under the label \`${val}\`: add grants = { ${grant} = { ${val} = "..." } }`,
                options,
            );
        case 'invalid-argument':
        case 'access-denied':
            return new InvalidArgument(val, options);
        case 'pool-exhausted':
            return new Unavailable(`too many connections to the ${what} are in use`, options);
        case 'timeout':
            return new Unavailable(`the ${what} did not answer in time`, options);
        case 'connection-lost':
        case 'unavailable':
            return new Unavailable(val, options);
        case 'limit-exceeded':
            return new Exhausted(val, options);
        case 'database':
            return new StorageError(`${val.message} (${val.code})`, { retryable: val.retryable, ...options });
        default:
            return new StorageError(typeof val === 'string' ? val : tag, options);
    }
}

/** Calls a capability, and throws its errors as those of the contract. */
export function call(capability, run) {
    try {
        return run();
    } catch (thrown) {
        throw fromCapability(thrown, capability);
    }
}
