//go:build interop

package h2

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Clients of others at their defaults, against an owner that gives no flood tokens back: none may be cut off.

// clientLimit bounds one run of a client; installLimit one of pip or npm.
const (
	clientLimit  = hang
	installLimit = 3 * time.Minute
)

// installed puts the packages of a file in testdata/clients into a folder of the user's cache, once, and returns it.
func installed(t *testing.T, pins string, commands func(dir string) [][]string) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "slimgo-interop", "h2-clients-"+pins)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o600) // another run may be installing
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join("testdata/clients", pins))
	if err != nil {
		t.Fatal(err)
	}
	marker := filepath.Join(dir, "installed") // written last
	if have, err := os.ReadFile(marker); err == nil && bytes.Equal(have, want) {
		return dir
	}
	if err := os.WriteFile(filepath.Join(dir, pins), want, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, argv := range commands(dir) {
		run(t, installLimit, dir, nil, argv...)
	}
	if err := os.WriteFile(marker, want, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// command is a program that dies with the test.
func command(t *testing.T, limit time.Duration, dir string, env []string, argv ...string) *exec.Cmd {
	t.Helper()
	if _, err := exec.LookPath(argv[0]); err != nil {
		t.Fatalf("%s is needed (Debian: nghttp2-client, curl, python3-venv, nodejs): %v", argv[0], err)
	}
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Minute
	timer := time.AfterFunc(limit, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() { timer.Stop() })
	return cmd
}

// run runs a program to its end and returns what it printed.
func run(t *testing.T, limit time.Duration, dir string, env []string, argv ...string) []byte {
	t.Helper()
	cmd := command(t, limit, dir, env, argv...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", argv, err, out, errs.Bytes())
	}
	return out
}

func TestDefaultGRPCPythonIsNotCutOff(t *testing.T) {
	dir := installed(t, "requirements.txt", func(dir string) [][]string {
		return [][]string{{"python3", "-m", "venv", "venv"},
			{filepath.Join(dir, "venv/bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
				"--only-binary", ":all:", "--require-hashes", "-r", "requirements.txt"}}
	})
	for _, what := range []string{strconv.Itoa(exchanges), "idle"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			run(t, clientLimit, "", nil, filepath.Join(dir, "venv/bin/python"), "testdata/clients/client.py", listenEcho(t, nil).String(), channelPath, what)
		})
	}
}

func TestDefaultGRPCNodeIsNotCutOff(t *testing.T) {
	dir := installed(t, "package.json", func(string) [][]string {
		return [][]string{{"npm", "install", "--omit=optional", "--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund"}}
	})
	env := []string{"GRPC_JS=" + filepath.Join(dir, "node_modules/@grpc/grpc-js/build/src/index.js")}
	for _, what := range []string{strconv.Itoa(exchanges), "idle"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			run(t, clientLimit, "", env, "node", "testdata/clients/client.mjs", listenEcho(t, nil).String(), channelPath, what)
		})
	}
}

// grpcArgs are the fields of a gRPC request, for programs that know only HTTP.
var grpcArgs = []string{"-H", "content-type: application/grpc", "-H", "te: trailers"}

// nghttp asks several hundred times over one connection, in all the ways it can.
func TestNghttpIsNotCutOff(t *testing.T) {
	const times = 400
	body := bytes.Repeat(grpcMsg(30), 20)
	file := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(file, body, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, flags := range [][]string{nil, {"--padding=200"}, {"--continuation"},
		{"--window-bits=4", "--connection-window-bits=4"}, {"--header-table-size=0"}, {"--header-table-size=100", "--encoder-header-table-size=50"},
		{"--trailer=x-checksum: 1"}, {"--max-concurrent-streams=3"}} {
		t.Run(fmt.Sprintf("%.30q", flags), func(t *testing.T) {
			argv := slices.Concat([]string{"nghttp", "-m", strconv.Itoa(times), "-d", file}, grpcArgs, flags,
				[]string{"http://" + listenEcho(t, &Settings{MaxHeaderList: 64 << 10}).String() + channelPath})
			if out := run(t, clientLimit, "", nil, argv...); len(out) != times*len(body) { // in pieces of all streams
				t.Errorf("%d bytes came back, want %d times %d", len(out), times, len(body))
			}
		})
	}
}

// curl streams its standard input, so that one message is under way at a time.
func TestCurlIsNotCutOff(t *testing.T) {
	argv := slices.Concat([]string{"curl", "--http2-prior-knowledge", "-sS", "-N", "-X", "POST", "-T", "."}, grpcArgs,
		[]string{"http://" + listenEcho(t, nil).String() + channelPath})
	cmd := command(t, clientLimit, "", nil, argv...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	end := func() error {
		var err error
		once.Do(func() { in.Close(); err = cmd.Wait() })
		return err
	}
	defer func() { _ = end() }()
	msg, got := grpcMsg(4), make([]byte, 9)
	for i := range exchanges {
		if _, err := in.Write(msg); err != nil {
			t.Fatalf("exchange %d: %v\n%s", i, err, errs.Bytes())
		}
		if _, err := io.ReadFull(out, got); err != nil || !bytes.Equal(got, msg) {
			t.Fatalf("exchange %d: %x, %v\n%s", i, got, err, errs.Bytes())
		}
	}
	if err := end(); err != nil {
		t.Errorf("%v\n%s", err, errs.Bytes())
	}
}
