package process

import "time"

// Usage is what a process and its living children have used.
type Usage struct {
	CPU     time.Duration // user and system time of all threads since the start, also of those that have ended
	RSS     int64         // bytes resident now
	Peak    int64         // bytes resident at most, since the start
	Threads int
	Files   int // open descriptors
}

// Client returns the usage of this process.
func Client() (Usage, error) { return Measure(0) }
