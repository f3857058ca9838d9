// Forwards traces: every stored header and event is posted as JSON to a URL. It keeps nothing, so it is used beside a store.
import { Backend, Unavailable, plugin } from '#sdk';
import { request } from '#sdk/http';
import * as metrics from '#sdk/metrics';
import { traceBodiesToJson } from '#sdk/render';
import * as secrets from '#sdk/secrets';
import { deliver, retryAfter } from './delivery.js';
import { ofEvents, ofTraces } from './payload.js';
import { readSettings } from './settings.js';
import { sign } from './signature.js';

class Webhook extends Backend {
    #settings;

    constructor(config) {
        super(config);
        this.#settings = readSettings(config);
        // A secret that is not granted is an error now, and not at the first batch.
        secrets.get(this.#settings.secret);
        Object.values(this.#settings.secret_headers).forEach(secrets.text);
    }

    async storeTraces(traces) {
        const json = traceBodiesToJson(traces.map((trace) => trace.body));
        await this.#post(ofTraces(json, this.#settings.max_body_kb * 1024));
    }

    async storeEvents(events) {
        const [traceIds, json] = events.columns('trace-id', 'json');
        await this.#post(ofEvents(traceIds, json, this.#settings.max_body_kb * 1024));
    }

    async healthCheck() {
        // Any answer shows that the receiver can be reached; many refuse the method.
        const { status } = await this.#send('HEAD', {}, undefined, this.#settings.timeout_ms);
        if (status >= 500 && status !== 501) throw new Unavailable(`${this.#settings.url} answered ${status}`);
    }

    async #post(bodies) {
        for (const body of bodies) {
            const begin = performance.now();
            const signed = await sign(secrets.get(this.#settings.secret), body, Date.now());
            const headers = { ...signed, 'content-type': 'application/json' };
            const attempts = await deliver(body, this.#settings, {
                send: (payload, timeout) => this.#send('POST', headers, payload, timeout),
                wait: (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
                now: () => performance.now(),
            });
            metrics.count('deliveries');
            metrics.count('retries', attempts - 1);
            metrics.observe('delivery_seconds', (performance.now() - begin) / 1000);
        }
    }

    async #send(method, headers, body, timeout) {
        const { url, headers: fixed, secret_headers: secret } = this.#settings;
        const granted = Object.fromEntries(Object.entries(secret).map(([name, label]) => [name, secrets.text(label)]));
        const response = await request(url, { method, headers: { ...fixed, ...granted, ...headers }, body }, { timeout });
        return { status: response.status, retryAfter: retryAfter(response.headers.get('retry-after'), Date.now()) };
    }
}

export const { backend } = plugin(Webhook);
