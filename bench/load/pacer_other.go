//go:build !linux

package load

func newPacer() Pacer { return Timers{} }
