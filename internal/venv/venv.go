// Package venv gives tests a Python with packages of pinned versions, for peers that nobody here wrote.
package venv

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// installTime bounds one run of pip.
const installTime = 5 * time.Minute

// Python returns the interpreter of an environment that has the packages of a requirements file, all of them with their versions: hashes would be those of one Python. It
// is made once, in the folder slimgo-interop/NAME of the user's cache, and anew when the file has changed. Any number of tests and
// processes may ask for the same at a time.
func Python(t testing.TB, name, requirements string) string {
	t.Helper()
	path, err := python(name, requirements)
	if err != nil {
		t.Fatalf("a Python with the packages of %s: %v", requirements, err)
	}
	return path
}

func python(name, requirements string) (string, error) {
	pins, err := os.ReadFile(requirements)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "slimgo-interop", name)
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "bin", "python")
	// The marker, a copy of the pins, is written last: what was interrupted is begun anew.
	marker := filepath.Join(dir, "installed")
	if have, err := os.ReadFile(marker); err == nil && bytes.Equal(have, pins) {
		return path, nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	for _, argv := range [][]string{
		{"python3", "-m", "venv", dir},
		{path, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:", "-r", requirements},
	} {
		if err := run(argv); err != nil {
			return "", err
		}
	}
	return path, os.WriteFile(marker, pins, 0o600)
}

func run(argv []string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	cmd.WaitDelay = time.Minute
	limit := time.AfterFunc(installTime, func() { _ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) })
	defer limit.Stop()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", argv, err, out)
	}
	return nil
}
