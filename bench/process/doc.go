// Package process starts nodes under test and measures them from outside, through /proc and the kernel's CPU clocks.
// Nothing runs inside the measured process. Linux only; elsewhere usage is reported as unknown.
package process
