package main

import (
	"github.com/offbit-ai/reflow/sdk/go/keyvalue"
	"github.com/offbit-ai/reflow/sdk/go/plugin"
)

// The keys of the bucket:
//
//	"h" id                      the header
//	"t" start id                nothing: the traces by start time
//	"e" id timestamp event-id   the body of an event
//	"a" id actor-id             nothing: the actors of a trace
//	"k" id event-type           nothing: the kinds of events
//	"x" id present              nothing: "1" when an event has an error
//
// A name that is too long for a key is a value instead: of "a" id 0xFF event-id, or of "k" id 0xFF event-id. No text has the byte
// 0xFF.

func headerKey(id plugin.UUID) []byte { return append([]byte("h"), id[:]...) }
func eventsOf(id plugin.UUID) []byte  { return append([]byte("e"), id[:]...) }
func actorsOf(id plugin.UUID) []byte  { return append([]byte("a"), id[:]...) }
func kindsOf(id plugin.UUID) []byte   { return append([]byte("k"), id[:]...) }
func errorsOf(id plugin.UUID) []byte  { return append([]byte("x"), id[:]...) }

func timeKey(start plugin.Timestamp, id plugin.UUID) []byte {
	return keyvalue.Key([]byte("t"), keyvalue.Sort(int64(start)), id[:])
}

// The entries that the host writes for each event.
var (
	ofTrace    = keyvalue.Sortable("trace-id")
	eventEntry = keyvalue.EventEntry{
		Key:   []keyvalue.Part{keyvalue.Fixed("e"), ofTrace, keyvalue.Sortable("timestamp"), keyvalue.Sortable("event-id")},
		Value: []keyvalue.Part{keyvalue.Field("body")},
	}
	actorEntry = keyvalue.EventEntry{Key: []keyvalue.Part{keyvalue.Fixed("a"), ofTrace, keyvalue.Sortable("actor-id")}}
	kindEntry  = keyvalue.EventEntry{Key: []keyvalue.Part{keyvalue.Fixed("k"), ofTrace, keyvalue.Sortable("event-type")}}
	errorEntry = keyvalue.EventEntry{Key: []keyvalue.Part{keyvalue.Fixed("x"), ofTrace, keyvalue.Present("error")}}
)

// longestName is how many bytes of a name fit into a key of 1 KiB.
const longestName = 1024 - 17

// storeLongNames stores a batch with a name that does not fit into a key.
func (b *backend) storeLongNames(events *plugin.EventBatch) error {
	traces, err := events.UUIDs("trace-id")
	if err != nil {
		return err
	}
	ids, err := events.UUIDs("event-id")
	if err != nil {
		return err
	}
	var changes []keyvalue.Change
	for field, prefix := range map[string]func(plugin.UUID) []byte{"actor-id": actorsOf, "event-type": kindsOf} {
		names, err := events.Texts(field)
		if err != nil {
			return err
		}
		for i, name := range names {
			if len(name) > longestName {
				key := keyvalue.Key(prefix(traces[i]), []byte{0xff}, ids[i][:])
				changes = append(changes, keyvalue.Put(key, []byte(name)))
			} else {
				changes = append(changes, keyvalue.Put(append(prefix(traces[i]), name...), nil))
			}
		}
	}
	if err := b.bucket.Apply(changes); err != nil {
		return err
	}
	_, err = b.bucket.InsertBatch([]keyvalue.EventEntry{eventEntry, errorEntry}, events)
	return err
}

// names is the actors or kinds of a trace.
func (b *backend) names(prefix []byte) (names []string, err error) {
	for entry, err := range b.bucket.Entries(prefix, false) {
		if err != nil {
			return nil, err
		}
		if name := entry.Key[len(prefix):]; len(name) > 0 && name[0] == 0xff {
			names = append(names, string(entry.Value))
		} else {
			names = append(names, string(name))
		}
	}
	return names, nil
}

// headers reads the headers of traces; nil where none is stored.
func (b *backend) headers(ids []plugin.UUID) ([]*header, error) {
	keys := make([][]byte, len(ids))
	for i, id := range ids {
		keys[i] = headerKey(id)
	}
	values, err := b.bucket.GetMany(keys)
	headers := make([]*header, len(values))
	for i, value := range values {
		if value != nil && err == nil {
			headers[i], err = decodeHeader(value)
		}
	}
	return headers, err
}
