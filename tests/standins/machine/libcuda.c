// SPDX-License-Identifier: GPL-3.0-or-later
// libcuda.so of a machine with GPUs: gives memory, or says why not. VERSION is its own version.
// The calls and results are those of the CUDA Driver API, cuda.h of CUDA 12.2: 100 CUDA_ERROR_NO_DEVICE, 102
// CUDA_ERROR_DEVICE_NOT_LICENSED, 802 CUDA_ERROR_SYSTEM_NOT_READY, 803 CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, 999
// CUDA_ERROR_UNKNOWN. That a guest without a licence gets memory at first and none later is left out: here it gets none.
// With NVSwitches nothing starts before Fabric Manager has set them up: NVIDIA, "Fabric Manager User Guide".
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char text[65536];

static const char *read_file(const char *path)
{
    FILE *file = fopen(path, "r");
    size_t size = file ? fread(text, 1, sizeof text - 1, file) : 0;
    text[size] = 0;
    if (file)
        fclose(file);
    return text;
}

static int count_devices(void)
{
    glob_t found;
    int count = glob("/dev/nvidia[0-9]*", 0, 0, &found) ? 0 : (int)found.gl_pathc;
    if (count)
        globfree(&found);
    return count;
}

int cuInit(unsigned flags)
{
    const char *driver = read_file("/proc/driver/nvidia/version");
    if (!*driver || !count_devices())
        return 100;
    if (!strstr(driver, VERSION))
        return 803;
    if (strstr(read_file("/usr/local/lib/machine/machine.json"), "\"nvswitches\": [{") && access("/run/machine/fabric", F_OK))
        return 802;
    return 0;
}

int cuGetErrorName(int error, const char **name)
{
    *name = error == 100 ? "CUDA_ERROR_NO_DEVICE" : error == 102 ? "CUDA_ERROR_DEVICE_NOT_LICENSED"
        : error == 802 ? "CUDA_ERROR_SYSTEM_NOT_READY" : error == 803 ? "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"
        : error == 999 ? "CUDA_ERROR_UNKNOWN" : 0;
    return 0;
}

int cuDeviceGetCount(int *count) { *count = count_devices(); return 0; }
int cuDeviceGet(int *device, int index) { *device = index; return 0; }
int cuCtxCreate_v2(void **context, unsigned flags, int device)
{
    *context = text;
    return atoi(read_file("/usr/local/lib/machine/cuda-error"));
}
int cuCtxDestroy_v2(void *context) { return 0; }
int cuMemFree_v2(unsigned long long memory) { return 0; }

int cuMemAlloc_v2(unsigned long long *memory, unsigned long size)
{
    const char *machine = read_file("/usr/local/lib/machine/machine.json");
    int is_guest = strstr(machine, "\"licensed_product\": \"N") != 0;
    return is_guest && !*read_file("/run/machine/license") ? 102 : 0;
}
