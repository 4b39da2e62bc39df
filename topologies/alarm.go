package topologies

import (
	"context"
	"log/slog"
	"time"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/event/eventpb"
)

// run wakes the partitions of windows that have something due and no record
// that would tell them so, until ctx ends. Time comes to a stage as a record, since no
// transaction may commit without one.
func (s *windowsStage) run(ctx context.Context) error {
	to, err := newSender(s.Config)
	if err != nil {
		return err
	}
	defer to.close()
	clock := time.NewTicker(max(s.EarlyCadence/4, 10*time.Millisecond))
	defer clock.Stop()
	loop := LoopTopic(Group(s.Deployment, event.StageWindows))
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-clock.C:
		}
		for _, partition := range s.alarming() {
			record, err := s.control(event.ControlAlarm, loop, int(partition), &eventpb.Alarm{SentAtMs: s.Now().UnixMilli()})
			if err != nil {
				return err
			}
			if err := to.send(ctx, record, partition); err != nil && ctx.Err() == nil {
				s.Log.Warn("early results wait for the next record", slog.Any("error", err))
			}
		}
	}
}

// alarmPatience is how long an alarm may be under way before another one is sent.
const alarmPatience = 5 * time.Second

// alarming are the partitions to send an alarm to.
func (s *windowsStage) alarming() []int32 {
	now := s.Now()
	var list []int32
	for partition, p := range s.held() {
		p.mu.Lock()
		if p.IsDue(now.UnixMilli()) && now.Sub(p.alarmed) >= alarmPatience {
			p.alarmed = now
			list = append(list, partition)
		}
		p.mu.Unlock()
	}
	return list
}
