// HTTP requests that take a bounded time.
import { Unavailable } from './errors.js';

export async function request(url, options = {}, { timeout = 4_000 } = {}) {
    let timer;
    // The engine does not heed an AbortSignal while it waits for an answer.
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Unavailable(`${url} did not answer within ${Math.round(timeout)} ms`)), Math.max(0, timeout));
    });
    try {
        return await Promise.race([fetch(url, options), late]);
    } catch (error) {
        if (error instanceof Unavailable) throw error;
        throw new Unavailable(`${url} can't be reached: ${error.message}`, { cause: error });
    } finally {
        clearTimeout(timer);
    }
}
