package plugin

// Unreadable is the reads and deletions of a backend that only forwards what is stored. Embed it.
type Unreadable struct{}

var errUnreadable = Unsupported("this plugin forwards what is stored, and can't be read: name it in `also` of [storage], beside a store")

// GetTraces is unsupported.
func (Unreadable) GetTraces([]UUID) ([][]byte, error) { return nil, errUnreadable }

// QueryTraces is unsupported.
func (Unreadable) QueryTraces(*Query, Page) (TracePage, error) { return TracePage{}, errUnreadable }

// GetEvents is unsupported.
func (Unreadable) GetEvents(UUID, Page) (EventPage, error) { return EventPage{}, errUnreadable }

// DeleteTraces is unsupported.
func (Unreadable) DeleteTraces([]UUID) (uint64, error) { return 0, errUnreadable }

// Stats is unsupported.
func (Unreadable) Stats() (Stats, error) { return Stats{}, errUnreadable }
