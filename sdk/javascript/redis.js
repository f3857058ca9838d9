// Redis servers that the operator has granted.
import { Connection } from 'reflow:capabilities/redis';
import { StorageError, call } from './errors.js';
import { Events } from './events.js';
import { key } from './keys.js';

const CAPABILITY = { grant: 'redis', what: 'Redis server' };

export const field = (name) => ({ tag: 'field', val: name });
export const sortable = (name) => ({ tag: 'sortable', val: name });
export const present = (name) => ({ tag: 'present', val: name });
export const joined = (...parts) => ({ parts });

export class Redis {
    #granted;

    constructor(granted) {
        this.#granted = granted;
    }

    static open(label = 'default') {
        return new Redis(call(CAPABILITY, () => Connection.open(label)));
    }

    command(...parts) {
        const [reply] = this.pipeline([parts]);
        if (reply instanceof StorageError) throw reply;
        return reply;
    }

    pipeline(commands) {
        return nested(this.#call((redis) => redis.pipeline(commands.map(command))));
    }

    atomically(expected, commands) {
        const expectations = expected.map(({ key: name, value }) => ({
            key: key(name),
            value: value === undefined ? undefined : key(value),
        }));
        const replies = this.#call((redis) => redis.atomically(expectations, commands.map(command)));
        return replies === undefined ? undefined : nested(replies);
    }

    pipelineBatch(commands, events, { unless } = {}) {
        const template = (parts) => parts.map(argument);
        return this.#call((redis) => redis.pipelineBatch(unless && template(unless), commands.map(template), events.batch));
    }

    eval(script, keys, args) {
        return nested(this.#call((redis) => redis.eval(script, command(keys), command(args))))[0];
    }

    queryEvents(commands) {
        return new Events(this.#call((redis) => redis.queryEvents(commands.map(command))));
    }

    #call(run) {
        return call(CAPABILITY, () => run(this.#granted));
    }
}

const bytes = (part) => (typeof part === 'number' ? key(String(part)) : key(part));
const command = (parts) => parts.map(bytes);

/** An argument of a template: parts that are joined. */
function argument(value) {
    const parts = value?.parts ?? [value];
    return parts.map((part) => (part?.tag === undefined ? { tag: 'fixed', val: bytes(part) } : part));
}

/** The replies, which come one after another in reading order. */
function nested(replies) {
    let next = 0;
    const read = () => {
        const { tag, val } = replies[next];
        next += 1;
        switch (tag) {
            case 'nil':
                return undefined;
            case 'failed':
                return new StorageError(val);
            case 'array':
                return Array.from({ length: val }, read);
            default:
                return val;
        }
    };
    const found = [];
    while (next < replies.length) found.push(read());
    return found;
}
