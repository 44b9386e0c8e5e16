// Slim is the SLIM node: it reads upstream's configuration files, listens, and moves messages until it is told to stop.
package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr))
}
