// Package keyvalue is ordered buckets of keys and values that the operator has granted, by label.
package keyvalue

import (
	"iter"

	bindings "github.com/offbit-ai/reflow/sdk/go/bindings/reflow_capabilities_keyvalue"
	"github.com/offbit-ai/reflow/sdk/go/internal/memory"
	"github.com/offbit-ai/reflow/sdk/go/plugin"
	witTypes "go.bytecodealliance.org/pkg/wit/types"
)

// Bucket is keys in the order of their bytes, each with a value. A key has at most 1 KiB, a value at most 16 MiB. Errors are
// of the type [Error].
type Bucket struct{ raw *bindings.Bucket }

// Entry is a key with its value.
type Entry = bindings.Entry

// fetch is how many entries a call of an iterator gets: a compromise between the number of calls and the memory.
const fetch = 1000

// Open opens the bucket that the operator granted under the label.
func Open(label string) (*Bucket, error) {
	raw, err := answer(bindings.BucketOpen(label))
	return &Bucket{raw}, err
}

// Get is the value of a key, nil when there is none.
func (b *Bucket) Get(key []byte) ([]byte, error) {
	value, err := answer(b.raw.Get(key))
	return present(value), err
}

// GetMany is the values of several keys at one moment, in the order of the keys; nil where there is none.
func (b *Bucket) GetMany(keys [][]byte) ([][]byte, error) {
	found, err := answer(b.raw.GetMany(keys))
	values := make([][]byte, len(found))
	for i, value := range found {
		values[i] = present(value)
	}
	return values, err
}

// Set sets a value without expiry. For values that expire, see [Bucket.Raw].
func (b *Bucket) Set(key, value []byte) error {
	_, err := answer(b.raw.Set(key, value, witTypes.None[uint64]()))
	return err
}

// Delete deletes a key, and says whether it existed.
func (b *Bucket) Delete(key []byte) (bool, error) { return answer(b.raw.Delete(key)) }

// Change is one change of [Bucket.Apply].
type Change = bindings.Change

// Put sets the value of a key.
func Put(key, value []byte) Change { return bindings.MakeChangeSet(Entry{Key: key, Value: value}) }

// Remove deletes a key.
func Remove(key []byte) Change { return bindings.MakeChangeDelete(key) }

// Apply applies all changes or none, in order.
func (b *Bucket) Apply(changes []Change) error {
	_, err := answer(b.raw.Apply(changes, witTypes.None[uint64]()))
	return err
}

// CompareAndSet sets a value, or deletes it when it is nil, if the current value is the expected one; nil means that the
// key does not exist. It says whether that was so.
func (b *Bucket) CompareAndSet(key, expected, value []byte) (bool, error) {
	return answer(b.raw.CompareAndSet(key, optional(expected), optional(value), witTypes.None[uint64]()))
}

// Count is how many keys begin with the prefix. The cost grows with their number.
func (b *Bucket) Count(prefix []byte) (uint64, error) { return answer(b.raw.Count(prefix)) }

// ListKeys is a page of the keys that begin with the prefix, in order, after the cursor, which is nil or the `next` of
// the same listing. Only a nil `next` ends a listing.
func (b *Bucket) ListKeys(prefix, cursor []byte, limit int) (keys [][]byte, next []byte, err error) {
	page, err := answer(b.raw.ListKeys(prefix, optional(cursor), uint32(limit)))
	return page.Keys, present(page.Next), err
}

// Scan is a page of entries, listed like keys; in reverse order if asked.
func (b *Bucket) Scan(prefix, cursor []byte, limit int, reverse bool) (entries []Entry, next []byte, err error) {
	page, err := answer(b.raw.Scan(prefix, optional(cursor), uint32(limit), reverse))
	return page.Entries, present(page.Next), err
}

// ScanEvents is a page of entries whose values are bodies of events, which never enter the plugin.
func (b *Bucket) ScanEvents(prefix, cursor []byte, limit int, reverse bool) (events *plugin.EventBatch, next []byte, err error) {
	page, err := answer(b.raw.ScanEvents(prefix, optional(cursor), uint32(limit), reverse))
	if err != nil {
		return nil, nil, err
	}
	return plugin.WrapEventBatch(page.Events), present(page.Next), nil
}

// InsertBatch sets the entries of each event of the batch, all or none; the events never enter the plugin. An event is skipped
// when the key of its first entry exists. It returns how many were not.
func (b *Bucket) InsertBatch(entries []EventEntry, events *plugin.EventBatch) (uint64, error) {
	return answer(b.raw.InsertBatch(entries, events.Raw(), witTypes.None[uint64]()))
}

// Keys is all keys that begin with the prefix, in order, fetched as they are needed. It ends after an error.
func (b *Bucket) Keys(prefix []byte) iter.Seq2[[]byte, error] {
	return all(func(cursor []byte) ([][]byte, []byte, error) { return b.ListKeys(prefix, cursor, fetch) })
}

// Entries is all entries whose keys begin with the prefix, fetched as they are needed; in reverse order if asked. It ends
// after an error.
func (b *Bucket) Entries(prefix []byte, reverse bool) iter.Seq2[Entry, error] {
	return all(func(cursor []byte) ([]Entry, []byte, error) { return b.Scan(prefix, cursor, fetch, reverse) })
}

// Raw is the bucket of the bindings, whose functions also take a time to live.
func (b *Bucket) Raw() *bindings.Bucket { return b.raw }

// all is the items of all pages.
func all[T any](page func(cursor []byte) ([]T, []byte, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var cursor []byte
		for {
			items, next, err := page(cursor)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			if next == nil {
				return
			}
			cursor = next
		}
	}
}

// answer is what a function of the host returned, in Go's way.
func answer[T any](result witTypes.Result[T, bindings.KeyvalueError]) (value T, err error) {
	memory.Release()
	if result.IsErr() {
		return value, errorOf(result.Err())
	}
	return result.Ok(), nil
}

func present(option witTypes.Option[[]uint8]) []byte {
	if option.IsNone() {
		return nil
	}
	if value := option.Some(); value != nil {
		return value
	}
	return []byte{}
}

func optional(bytes []byte) witTypes.Option[[]uint8] {
	if bytes == nil {
		return witTypes.None[[]uint8]()
	}
	return witTypes.Some(bytes)
}
