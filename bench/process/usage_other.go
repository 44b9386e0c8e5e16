//go:build !linux

package process

// Measure knows nothing here.
func Measure(int) (Usage, error) { return Usage{}, nil }

// ResetPeak does nothing here.
func ResetPeak(int) {}

func listener(pid int, _ string) int { return pid }
