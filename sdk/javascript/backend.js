// What a plugin exports, made of a class.
import about from 'reflow:package';
import { EventBatch } from 'reflow:storage/batch';
import { InvalidArgument, StorageError, Unsupported, report } from './errors.js';
import { Events } from './events.js';
import * as log from './log.js';
import { Uuid } from './uuid.js';

export class Backend {
    storeTraces() {
        throw new Unsupported('storing traces');
    }

    storeEvents() {
        throw new Unsupported('storing events');
    }

    getTraces() {
        throw new Unsupported('reading traces');
    }

    queryTraces() {
        throw new Unsupported('queries');
    }

    getEvents() {
        throw new Unsupported('reading events');
    }

    deleteTraces() {
        throw new Unsupported('deletion');
    }

    getStats() {
        throw new Unsupported('statistics');
    }

    healthCheck() {}

    maintain() {}

    dropOldest() {
        return 0n;
    }
}

export function plugin(type, { name = about.name, version = about.version, features = [] } = {}) {
    let opened;

    /** A function of the contract: `run` with the backend of this instance. */
    const exported = (run) =>
        guarded((...args) => {
            if (opened === undefined) throw new StorageError('called before it was opened');
            return run(opened, ...args);
        });

    const backend = {
        open: guarded((config) => {
            opened = new type(settings(config));
            return { name, version, features };
        }),
        storeTraces: exported((on, traces) => on.storeTraces(traces.map(header))),
        storeEvents: exported((on, events) => on.storeEvents(new Events(events))),
        getTraces: exported((on, ids) => on.getTraces(ids.map(uuid))),
        queryTraces: exported((on, query, page) =>
            on.queryTraces({ ...query, executionId: query.executionId && uuid(query.executionId) }, page),
        ),
        getEvents: exported((on, traceId, page) =>
            then(on.getEvents(uuid(traceId), page), ({ events, next }) => ({
                events: events === undefined ? new EventBatch() : events.batch,
                next,
            })),
        ),
        deleteTraces: exported((on, ids) => then(on.deleteTraces(ids.map(uuid)), BigInt)),
        getStats: exported((on) =>
            then(on.getStats(), ({ traces, events, bytes, oldest, newest }) => ({
                traces: BigInt(traces),
                events: BigInt(events),
                bytes: bytes === undefined ? undefined : BigInt(bytes),
                oldest,
                newest,
            })),
        ),
        healthCheck: exported((on) => on.healthCheck()),
    };
    const maintenance = { maintain: exported((on) => on.maintain()) };
    const expiry = { dropOldest: exported((on, endedBy) => then(on.dropOldest(endedBy), BigInt)) };
    return { backend, maintenance, expiry };
}

const uuid = ({ high, low }) => new Uuid(high, low);
const header = (trace) => ({ ...trace, traceId: uuid(trace.traceId), executionId: uuid(trace.executionId) });

/** The table `[plugins.NAME.config]`. */
function settings(config) {
    try {
        return JSON.parse(config);
    } catch (error) {
        throw new InvalidArgument(`the configuration is not JSON: ${error.message}`, { cause: error });
    }
}

/** `convert` of a value, or of what a promise gives. */
function then(value, convert) {
    return typeof value?.then === 'function' ? value.then(convert) : convert(value);
}

/** `run`, with everything that it throws as an error of the contract. The stack of a mistake in the plugin is logged. */
function guarded(run) {
    const fail = (thrown) => {
        const { error, logged } = report(thrown);
        if (logged !== undefined) log.error(logged);
        throw error;
    };
    return (...args) => {
        try {
            const result = run(...args);
            return typeof result?.then === 'function' ? result.then(undefined, fail) : result;
        } catch (thrown) {
            return fail(thrown);
        }
    };
}
