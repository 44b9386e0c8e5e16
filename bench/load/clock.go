package load

import "time"

var start = time.Now()

// Now is the monotonic clock of all stamps: nanoseconds since the process began. Always positive.
func Now() int64 { return int64(time.Since(start)) + 1 }
