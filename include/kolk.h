/* kolk.h - all of libkolk. SPDX-License-Identifier: MIT */
#pragma once

#include <kolk/base.h>
#include <kolk/call.h>
#include <kolk/context.h>
#include <kolk/debug.h>
#include <kolk/future.h>
#include <kolk/gather.h>
#include <kolk/group.h>
#include <kolk/inbox.h>
#include <kolk/loop.h>
#include <kolk/op.h>
#include <kolk/pool.h>
#include <kolk/queue.h>
#include <kolk/scope.h>
#include <kolk/sync.h>
#include <kolk/task.h>
#include <kolk/timer.h>
#include <kolk/trace.h>
#include <kolk/watch.h>
