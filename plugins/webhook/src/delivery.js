// Posting a body until the receiver has it, a bounded number of times.
import { StorageError, Unavailable } from '#sdk';

/** What a receiver may answer that it will take later. */
const LATER = new Set([408, 425, 429]);

/**
 * Posts `body`. `send` makes one attempt, `wait` waits for milliseconds, `now` is a clock in milliseconds.
 *
 * Fails with `Unavailable` when the receiver can't be reached or asks to come later, up to the end of the attempts: the host may then
 * call again. Any other answer than success is final.
 */
export async function deliver(body, settings, { send, wait, now }) {
    const end = now() + settings.total_ms;
    let problem;
    for (let attempt = 1; attempt <= settings.attempts; attempt += 1) {
        const pause = attempt === 1 ? 0 : Math.max(settings.backoff_ms * 2 ** (attempt - 2), problem.retryAfter ?? 0);
        if (now() + pause >= end) break;
        if (pause > 0) await wait(pause);
        problem = await attempted(() => send(body, Math.min(settings.timeout_ms, end - now())));
        if (problem === undefined) return attempt;
    }
    throw new Unavailable(`${settings.url} did not accept a batch: ${problem?.text ?? 'there was no time for an attempt'}`);
}

/** Why an attempt failed, or nothing when it succeeded. Throws what no other attempt can change. */
async function attempted(send) {
    let response;
    try {
        response = await send();
    } catch (error) {
        return { text: error.message };
    }
    const { status, retryAfter } = response;
    if (status >= 200 && status < 300) return undefined;
    if (status >= 500 || LATER.has(status)) return { text: `it answered ${status}`, retryAfter };
    throw new StorageError(`the receiver refuses the batch: it answered ${status}. Correct \`url\`, \`headers\` or the secret in the configuration`);
}

/** The milliseconds of a header field `Retry-After`, which has seconds or a date. */
export function retryAfter(value, now) {
    if (value === null || value === undefined || value === '') return undefined;
    const milliseconds = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - now;
    return Number.isNaN(milliseconds) ? undefined : Math.max(0, milliseconds);
}
