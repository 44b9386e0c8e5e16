//go:build interop

package main

import (
	"bufio"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/seed31b3bfd0/slimgo/internal/venv"
)

func python(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(venv.Python(t, "python-slim-mcp-0.2.3", "requirements.txt"), append([]string{"peer.py"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// The counterpart in Python calls the server, and is called.
func TestCounterpart(t *testing.T) {
	node := startNode(t)
	startServer(t, node)
	out, err := python(t, "call", "--node", node, "--name", "org/demo/py", "--server", "org/demo/tools", "--tool", "add", "--arguments", `{"A": 1, "B": 2}`).Output()
	if want := `{"event": "result", "text": "3", "failed": false}`; err != nil || !strings.Contains(string(out), want) {
		t.Errorf("peer.py call: %v, %s, want %s", err, out, want)
	}

	server := python(t, "serve", "--node", node, "--name", "org/demo/pytools")
	r, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = syscall.Kill(-server.Process.Pid, syscall.SIGKILL)
		_ = server.Wait()
	}()
	for in := bufio.NewScanner(r); in.Scan() && !strings.Contains(in.Text(), "ready"); {
	}
	if got := called(t, node, "-server", "org/demo/pytools", "-tool", "echo", "-arguments", `{"Text": "hello"}`); got != "you said hello\n" {
		t.Errorf("called: %q", got)
	}
}
