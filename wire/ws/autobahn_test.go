//go:build autobahn

package ws

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Autobahn|Testsuite's fuzzing client and server, all sections (12 and 13 are compression), for both roles. wstest is looked for in PATH or in $WSTEST; it needs Python 2.7 (docs/interop.md).

// numCases is how many these sections have.
const (
	numCases    = 301
	numDeflates = 216 // of sections 12 and 13
)

// wstest starts it with a specification and returns its folder and the command.
func wstest(t *testing.T, mode string, spec map[string]any) (*exec.Cmd, string) {
	t.Helper()
	bin := os.Getenv("WSTEST")
	if bin == "" {
		var err error
		if bin, err = exec.LookPath("wstest"); err != nil {
			t.Fatal("wstest: not in PATH, and WSTEST is not set; python2.7 -m pip install autobahntestsuite==25.10.1")
		}
	}
	dir := t.TempDir()
	spec["outdir"] = filepath.Join(dir, "reports")
	spec["cases"] = []string{"1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*", "12.*", "13.*"}
	spec["exclude-cases"], spec["exclude-agent-cases"] = []string{}, map[string]any{}
	b, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "spec.json"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "-m", mode, "-s", filepath.Join(dir, "spec.json"))
	cmd.Dir = dir
	return cmd, spec["outdir"].(string)
}

// judge reads the report: every case passed, close included.
func judge(t *testing.T, dir string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var agents map[string]map[string]struct{ Behavior, BehaviorClose string }
	if err := json.Unmarshal(b, &agents); err != nil {
		t.Fatal(err)
	}
	n := map[string]int{}
	for _, cases := range agents {
		for id, c := range cases {
			n[c.Behavior]++
			if c.Behavior == "UNIMPLEMENTED" && strings.HasPrefix(id, "13.") { // a window that our encoder does not have
				continue
			}
			info := c.Behavior == "INFORMATIONAL" && (id == "7.1.6" || id == "7.13.1" || id == "7.13.2") // no rule says
			if c.Behavior != "OK" && !info || c.BehaviorClose != "OK" && !info {
				t.Errorf("case %s: %s, close %s", id, c.Behavior, c.BehaviorClose)
			}
		}
	}
	if n["OK"]+n["INFORMATIONAL"]+n["UNIMPLEMENTED"] != numCases+numDeflates || n["UNIMPLEMENTED"] > numDeflates/3 {
		t.Errorf("%v, want %d cases", n, numCases+numDeflates)
	}
	t.Log(n)
}

func TestAutobahnFuzzesServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			n, err := l.Accept()
			if err != nil {
				return
			}
			go echo(n, Server, &Settings{Text: true, Deflate: true}, nil)
		}
	}()
	cmd, dir := wstest(t, "fuzzingclient", map[string]any{
		"servers": []map[string]string{{"agent": "slimgo", "url": "ws://" + l.Addr().String()}}})
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("wstest: %v\n%s", err, out)
	}
	judge(t, dir)
}

func TestAutobahnFuzzesClient(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // a port that is free
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	cmd, dir := wstest(t, "fuzzingserver", map[string]any{"url": "ws://" + addr, "webport": 0})
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	dial := func(path string) {
		var n net.Conn
		for end := time.Now().Add(hang); ; time.Sleep(20 * time.Millisecond) { // it says nothing when it listens
			if n, err = net.Dial("tcp", addr); err == nil {
				break
			}
			if time.Now().After(end) {
				t.Fatal(err)
			}
		}
		s := Settings{Text: true, Deflate: true, Seed: [32]byte{1}}
		if err := echo(n, Client, &s, &Upgrade{Host: addr, Path: path}); err != nil {
			t.Logf("%s: %v", path, err)
		}
	}
	for i := 1; i <= numCases+numDeflates; i++ {
		dial(fmt.Sprintf("/runCase?case=%d&agent=slimgo", i))
	}
	dial("/updateReports?agent=slimgo")
	judge(t, dir)
}
