//go:build unix && !linux

package process

import "syscall"

// ownGroup puts the node into a process group of its own, so that a child started by a wrapper is ended with it.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func signalGroup(pid int, s syscall.Signal) error { return syscall.Kill(-pid, s) }
