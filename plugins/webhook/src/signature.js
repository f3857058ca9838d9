// The header fields of https://www.standardwebhooks.com: an id, a time, and the signature of both with the body.
const encoder = new TextEncoder();

/** `secret` is bytes: `whsec_` and Base64, as that standard writes a secret, or any others. */
export async function sign(secret, body, now) {
    // The same for the same body: a receiver drops what it has seen, also when the host sends it again.
    const id = `msg_${hexadecimal(await crypto.subtle.digest('SHA-256', body)).slice(0, 32)}`;
    const timestamp = String(Math.floor(now / 1000));
    return {
        'webhook-id': id,
        'webhook-timestamp': timestamp,
        'webhook-signature': await signatureOf(secret, id, timestamp, body),
    };
}

export async function signatureOf(secret, id, timestamp, body) {
    const signed = concatenated(encoder.encode(`${id}.${timestamp}.`), body);
    const key = await crypto.subtle.importKey('raw', keyOf(secret), { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
    const signature = new Uint8Array(await crypto.subtle.sign('HMAC', key, signed));
    return `v1,${btoa(String.fromCharCode(...signature))}`;
}

function keyOf(secret) {
    const text = new TextDecoder().decode(secret).trimEnd();
    return text.startsWith('whsec_') ? Uint8Array.from(atob(text.slice(6)), (character) => character.charCodeAt(0)) : encoder.encode(text);
}

function hexadecimal(bytes) {
    return Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function concatenated(first, second) {
    const bytes = new Uint8Array(first.length + second.length);
    bytes.set(first);
    bytes.set(second, first.length);
    return bytes;
}
