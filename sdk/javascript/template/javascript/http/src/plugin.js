// A forwarder: each header and each event that is stored is posted to the setting `url`, as lines of JSON. It keeps nothing and answers
// no query, so the host uses it beside a store: `also` in `[storage]` names it.
//
// `wit/deps/storage/backend.wit` specifies each function. Those that are not here answer `unsupported`.
import { Backend, InvalidArgument, plugin, StorageError, Unavailable } from '#sdk';
import { request } from '#sdk/http';
import { traceBodiesToJson } from '#sdk/render';

/** A larger batch is posted in several requests; one line may be larger. In units of text, each of which is one to three bytes. */
const BODY = 256 * 1024;
/** Milliseconds to wait for an answer. Below the host's limit of a call (`call_timeout_ms`, 5000), so that the error says what happened. */
const PATIENCE = 4_000;

export class Forwarder extends Backend {
    #url;

    /** @param {import('#sdk').Config} config */
    constructor(config) {
        super(config);
        const { url, ...others } = config;
        // Refuse unknown settings, so that a misspelt one is noticed.
        const [unknown] = Object.keys(others);
        if (unknown !== undefined) throw new InvalidArgument(`\`${unknown}\` is not a setting of this plugin: its only one is \`url\``);
        if (typeof url !== 'string' || !/^https?:\/\/./.test(url)) {
            throw new InvalidArgument(`\`url\` is ${JSON.stringify(url)}: it must be an address such as "https://example.com/traces"`);
        }
        this.#url = url;
    }

    /** @param {import('#sdk').Trace[]} traces */
    async storeTraces(traces) {
        // The host renders the JSON, and no number in it is parsed here, so all of them keep their digits.
        await this.#post(traceBodiesToJson(traces.map((trace) => trace.body)));
    }

    /** @param {import('#sdk').Events} events */
    async storeEvents(events) {
        const [ids, json] = events.columns('trace-id', 'json');
        await this.#post(Array.from(json, (event, index) => `{"trace_id":"${ids[index]}","event":${event}}`));
    }

    async healthCheck() {
        // Any answer shows that the receiver can be reached; many refuse the method.
        await request(this.#url, { method: 'HEAD' }, { timeout: PATIENCE });
    }

    /** Posts the lines. Returns when all were accepted; otherwise the host calls again, so a receiver may get lines twice. */
    async #post(lines) {
        const headers = { 'content-type': 'application/x-ndjson' };
        for (const body of bodies(lines)) {
            const { ok, status } = await request(this.#url, { method: 'POST', headers, body }, { timeout: PATIENCE });
            if (ok) continue;
            const text = `${this.#url} answered ${status}`;
            // It may accept the same later.
            if (status >= 500 || status === 408 || status === 429) throw new Unavailable(text);
            throw new StorageError(`${text}: it refuses what it was sent`);
        }
    }
}

/** The lines, in texts of at most `BODY` unless a line alone is longer. */
export function* bodies(lines) {
    let body = '';
    for (const line of lines) {
        if (body !== '' && body.length + line.length >= BODY) {
            yield body;
            body = '';
        }
        body += `${line}\n`;
    }
    if (body !== '') yield body;
}

export const { backend } = plugin(Forwarder);
