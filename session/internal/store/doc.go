// Package store is how sessions are kept: records of bytes under keys that tell nobody whose they are, written in
// transactions, and the sealing of both under a key of the application.
//
//	session ── Sealer ──▶ records ── Store.Write ──▶ memory, or SQLite
//	                                     │
//	   what was waited for  ◀── done ────┘
//
// A session that has to be stored before it sends or delivers hands over one transaction and goes on when done was called. It
// never waits in a call: a Store has its own goroutine, and one transaction of the disk may be many of sessions.
//
// A Store is trusted with nothing but not to lose what it has confirmed. Who reads or changes it learns the number of
// sessions and the sizes and times of records; what was changed, moved to another key or made by others is refused when it
// is opened. That all of it was put back to what it was before cannot be told.
package store
