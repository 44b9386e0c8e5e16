// Package workers is the goroutines that sessions share: as many as there are processors for them, however many sessions
// there are, and none of them a node's loop.
//
//	uplink's reader ──ring──▶ worker ◀──posted── apps        a Slot is one session's place: it belongs to one worker
//	                            │ ▲
//	                            ▼ └── deadlines
//	                      Task.Run, a slice each               jobs, such as signatures, run wherever there is time
//
// A worker is a station of package pool, as loops are. It runs its slots in turn, each for no longer than a slice, so that
// one with much to do delays the others by that. After a slice, of slots or of jobs, it lets others have its processor.
package workers
