// An error as capabilities throw it.
export class Refused extends Error {
    constructor(tag, val) {
        super(`${tag}: ${val ?? ''}`);
        this.payload = { tag, val };
    }
}
