//go:build !linux

package main

import "os"

func terminal(f *os.File) bool {
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}

func columns(*os.File) int { return usualWidth }
