//go:build !linux

package kafkatest

import "syscall"

// dieWithOwner can only keep the terminal's Ctrl-C from the broker here: where
// its owner is killed, the broker lives on.
func dieWithOwner() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
