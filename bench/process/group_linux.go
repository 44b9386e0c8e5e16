package process

import "syscall"

// ownGroup puts the node into a process group of its own, so that a child started by a wrapper (go run) is ended with
// it, and lets the kernel end it should this process die.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

func signalGroup(pid int, s syscall.Signal) error { return syscall.Kill(-pid, s) }
