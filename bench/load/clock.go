package load

import "time"

var start = time.Now()

// epoch is what Now reads at start. It keeps Now positive in a bubble of testing/synctest, too, whose time begins in the
// year 2000: 73 years.
const epoch = 1 << 61

// Now is the monotonic clock of all stamps, in nanoseconds. Always positive.
func Now() int64 { return int64(time.Since(start)) + epoch }
