package usage

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestCPUClockCountsWorkOfThisProcess(t *testing.T) {
	begun := time.Now()
	before, err := Own()
	if err != nil {
		t.Fatal(err)
	}
	const work, tick = 50 * time.Millisecond, 20 * time.Millisecond // a kernel may count in ticks
	after := before
	for end := time.Now().Add(2 * time.Minute); after.CPU < before.CPU+work; {
		if after, err = Own(); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(end) {
			t.Fatalf("2 minutes of work count as %v", after.CPU-before.CPU)
		}
	}
	if wall := time.Since(begun); after.CPU-before.CPU > wall*time.Duration(runtime.NumCPU())+tick {
		t.Errorf("%v of wall time count as %v on %d cores", wall, after.CPU-before.CPU, runtime.NumCPU())
	}
}

func TestNoProcessIsAnError(t *testing.T) {
	if _, err := Of(1 << 30); err == nil {
		t.Error("a process that cannot exist was measured")
	}
}

// What has ended uses nothing, whether its parent has taken note or not.
func TestProcessThatHasEndedIsNotMeasured(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	for limit := time.Now().Add(time.Minute); ; runtime.Gosched() {
		b, err := os.ReadFile(procFile(cmd.Process.Pid, "stat"))
		if err != nil || time.Now().After(limit) {
			t.Fatalf("it is still there: %s, %v", b, err)
		}
		if strings.Contains(string(b), ") Z ") {
			break
		}
	}
	if u, err := Of(cmd.Process.Pid); err == nil {
		t.Errorf("got %+v", u)
	}
}
