//go:build !linux

package chaos

import "syscall"

// dieWithOwner cannot be had here: a child outlives a killed owner.
func dieWithOwner() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
