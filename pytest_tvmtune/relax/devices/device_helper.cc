// What TVM's runtime can't do across RPC, or not without disturbing what it measures, as native code
// next to the library: relax/devices/ builds it for the device and loads it there. It needs tvm_ffi's
// C interface and the C library alone, so it loads wherever TVM's runtime does.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <tvm/ffi/c_api.h>

#define CHECKED(call) \
  if (int checked_ = (call)) return checked_

static int fail(const char* message) {
  TVMFFIErrorSetRaisedFromCStr("RuntimeError", message);
  return -1;
}

static TVMFFIByteArray bytes_of(const char* text) { return {text, strlen(text)}; }

static TVMFFIAny any_int(int64_t value) {
  TVMFFIAny any = {};
  any.type_index = kTVMFFIInt;
  any.v_int64 = value;
  return any;
}

static TVMFFIAny any_text(const char* text) {
  TVMFFIAny any = {};
  any.type_index = kTVMFFIRawStr;
  any.v_c_str = text;
  return any;
}

static TVMFFIAny any_object(TVMFFIObjectHandle object) {
  TVMFFIAny any = {};
  any.type_index = static_cast<TVMFFIObject*>(object)->type_index;
  any.v_obj = static_cast<TVMFFIObject*>(object);
  return any;
}

static void release(TVMFFIAny* any) {
  if (any->type_index >= kTVMFFIStaticObjectBegin) TVMFFIObjectDecRef(any->v_obj);
  *any = {};
}

// A string of any of its kinds, as the C library takes it.
static const char* text_of(const TVMFFIAny* any, char* room, size_t size) {
  TVMFFIByteArray bytes = {};
  if (any->type_index == kTVMFFIRawStr) return any->v_c_str;
  if (any->type_index == kTVMFFISmallStr) {
    bytes = {any->v_bytes, any->small_str_len};
  } else if (any->type_index == kTVMFFIStr) {
    bytes = *reinterpret_cast<TVMFFIByteArray*>(reinterpret_cast<char*>(any->v_obj) +
                                                sizeof(TVMFFIObject));
  } else if (any->type_index == kTVMFFIByteArrayPtr) {
    bytes = *static_cast<TVMFFIByteArray*>(any->v_ptr);
  }
  size_t length = bytes.size < size - 1 ? bytes.size : size - 1;
  memcpy(room, bytes.data, length);
  room[length] = 0;
  return room;
}

static int call_global(const char* name, TVMFFIAny* given, int32_t number, TVMFFIAny* result) {
  TVMFFIByteArray bytes = bytes_of(name);
  TVMFFIObjectHandle function = nullptr;
  CHECKED(TVMFFIFunctionGetGlobal(&bytes, &function));
  if (function == nullptr) return fail(name);
  int code = TVMFFIFunctionCall(function, given, number, result);
  TVMFFIObjectDecRef(function);
  return code;
}

static int function_of(TVMFFIAny module, const char* name, TVMFFIAny* function) {
  TVMFFIAny given[] = {module, any_text(name), {}};
  given[2].type_index = kTVMFFIBool;
  CHECKED(call_global("ffi.ModuleGetFunction", given, 3, function));
  return function->type_index == kTVMFFIFunction ? 0 : fail(name);
}

static int64_t now_ns() {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static const DLTensor* tensor_of(const TVMFFIAny* any) {
  if (any->type_index == kTVMFFIDLTensorPtr) return static_cast<const DLTensor*>(any->v_ptr);
  if (any->type_index == kTVMFFITensor)
    return reinterpret_cast<const DLTensor*>(reinterpret_cast<char*>(any->v_obj) +
                                             sizeof(TVMFFIObject));
  return nullptr;
}

static void forget_view(DLManagedTensor* view) { free(view); }

extern "C" {

// Of glibc alone.
int malloc_trim(size_t) __attribute__((weak));

// (*tensors) -> Array of them. RPC passes a tensor as what lies where; a VM takes and keeps objects.
// The tensors' owner, at the other end, outlives them.
int __tvm_ffi_tensors(void*, const TVMFFIAny* given, int32_t number, TVMFFIAny* result) {
  TVMFFIAny* views = static_cast<TVMFFIAny*>(calloc(number + 1, sizeof(TVMFFIAny)));
  int code = 0, made = 0;
  for (; made < number && code == 0; made++) {
    if (given[made].type_index != kTVMFFIDLTensorPtr) {
      code = TVMFFIAnyViewToOwnedAny(&given[made], &views[made]);
      continue;
    }
    const DLTensor* tensor = static_cast<const DLTensor*>(given[made].v_ptr);
    // With room for the shape, which lasts only as long as this call.
    size_t shape_bytes = tensor->ndim * sizeof(int64_t);
    char* room = static_cast<char*>(malloc(sizeof(DLManagedTensor) + shape_bytes));
    DLManagedTensor* view = reinterpret_cast<DLManagedTensor*>(room);
    view->dl_tensor = *tensor;
    view->dl_tensor.shape = reinterpret_cast<int64_t*>(room + sizeof(DLManagedTensor));
    memcpy(view->dl_tensor.shape, tensor->shape, shape_bytes);
    view->dl_tensor.strides = nullptr;
    view->manager_ctx = nullptr;
    view->deleter = forget_view;
    TVMFFIObjectHandle object = nullptr;
    code = TVMFFITensorFromDLPack(view, 0, 0, &object);
    if (code == 0) views[made] = any_object(object);
  }
  if (code == 0) code = call_global("ffi.Array", views, number, result);
  for (int index = 0; index < made; index++) release(&views[index]);
  free(views);
  return code;
}

// (module, name, array, *before) -> what the module's function returns for (*before, *array).
int __tvm_ffi_apply(void*, const TVMFFIAny* given, int32_t number, TVMFFIAny* result) {
  char room[1024];
  TVMFFIAny function = {}, size = {};
  CHECKED(function_of(given[0], text_of(&given[1], room, sizeof room), &function));
  TVMFFIAny array[] = {given[2], {}};
  int code = call_global("ffi.ArraySize", array, 1, &size);
  int32_t before = number - 3, count = code ? 0 : static_cast<int32_t>(size.v_int64);
  TVMFFIAny* all = static_cast<TVMFFIAny*>(calloc(before + count + 1, sizeof(TVMFFIAny)));
  memcpy(all, given + 3, before * sizeof(TVMFFIAny));
  int32_t got = 0;
  for (; got < count && code == 0; got++) {
    array[1] = any_int(got);
    code = call_global("ffi.ArrayGetItem", array, 2, &all[before + got]);
  }
  if (code == 0) code = TVMFFIFunctionCall(function.v_obj, all, before + count, result);
  for (int32_t index = 0; index < got; index++) release(&all[before + index]);
  free(all);
  release(&function);
  return code;
}

// (path) -> its content; TVM's own download knows regular files in one folder only.
int __tvm_ffi_read_file(void*, const TVMFFIAny* given, int32_t, TVMFFIAny* result) {
  char path[4096], *content = nullptr;
  FILE* file = fopen(text_of(&given[0], path, sizeof path), "rb");
  if (file == nullptr) return fail(strerror(errno));
  size_t size = 0, got = 0;
  do {
    content = static_cast<char*>(realloc(content, size + 65536));
    got = fread(content + size, 1, 65536, file);
    size += got;
  } while (got > 0);
  fclose(file);
  TVMFFIByteArray bytes = {content, size};
  int code = TVMFFIBytesFromByteArray(&bytes, result);
  free(content);
  return code;
}

// (tensor) -> the address of its first element, there.
int __tvm_ffi_address(void*, const TVMFFIAny* given, int32_t, TVMFFIAny* result) {
  const DLTensor* tensor = tensor_of(&given[0]);
  if (tensor == nullptr) return fail("not a tensor");
  *result = any_int(reinterpret_cast<intptr_t>(tensor->data) + tensor->byte_offset);
  return 0;
}

// (number): how many threads TVM's runtime makes here, once a kernel or a question needs them.
int __tvm_ffi_set_threads(void*, const TVMFFIAny* given, int32_t, TVMFFIAny*) {
  char number[32];
  snprintf(number, sizeof number, "%lld", static_cast<long long>(given[0].v_int64));
  return setenv("TVM_NUM_THREADS", number, 1) ? fail(strerror(errno)) : 0;
}

// (): give back what the C library keeps of memory that was freed, where it can.
int __tvm_ffi_trim(void*, const TVMFFIAny*, int32_t, TVMFFIAny*) {
  if (malloc_trim != nullptr) malloc_trim(0);
  return 0;
}

// () -> the version of tvm_ffi.
int __tvm_ffi_ffi_version(void*, const TVMFFIAny*, int32_t, TVMFFIAny* result) {
  TVMFFIVersion version;
  TVMFFIGetVersion(&version);
  char text[64];
  snprintf(text, sizeof text, "%u.%u.%u", version.major, version.minor, version.patch);
  TVMFFIByteArray bytes = bytes_of(text);
  return TVMFFIStringFromByteArray(&bytes, result);
}

// () -> the system and the architecture.
int __tvm_ffi_uname(void*, const TVMFFIAny*, int32_t, TVMFFIAny* result) {
  struct utsname name;
  if (uname(&name)) return fail(strerror(errno));
  char text[512];
  snprintf(text, sizeof text, "%s %s", name.sysname, name.machine);
  TVMFFIByteArray bytes = bytes_of(text);
  return TVMFFIStringFromByteArray(&bytes, result);
}

// (from, to): copies a file. A library that is loaded under a new path gets a new place in memory.
int __tvm_ffi_copy_file(void*, const TVMFFIAny* given, int32_t, TVMFFIAny*) {
  char from[4096], to[4096], block[65536];
  FILE* source = fopen(text_of(&given[0], from, sizeof from), "rb");
  if (source == nullptr) return fail(strerror(errno));
  FILE* copy = fopen(text_of(&given[1], to, sizeof to), "wb");
  size_t got = 0;
  bool good = copy != nullptr;
  while (good && (got = fread(block, 1, sizeof block, source)) > 0)
    good = fwrite(block, 1, got, copy) == got;
  int problem = good ? 0 : errno;
  if (copy != nullptr && fclose(copy) != 0 && good) good = false, problem = errno;
  fclose(source);
  return good ? 0 : fail(strerror(problem));
}

// (path) -> 64 bits of FNV-1a of a file's content: which file it is, without sending it.
int __tvm_ffi_digest(void*, const TVMFFIAny* given, int32_t, TVMFFIAny* result) {
  char path[4096], block[65536];
  FILE* file = fopen(text_of(&given[0], path, sizeof path), "rb");
  if (file == nullptr) return fail(strerror(errno));
  uint64_t hash = UINT64_C(14695981039346656037);
  for (size_t got; (got = fread(block, 1, sizeof block, file)) > 0;)
    for (size_t index = 0; index < got; index++)
      hash = (hash ^ static_cast<unsigned char>(block[index])) * UINT64_C(1099511628211);
  fclose(file);
  *result = any_int(static_cast<int64_t>(hash));
  return 0;
}

// (module, name, number, flush) -> mean seconds of one call, without a call before that isn't timed.
// flush: bytes to write over before each call, to empty the caches.
int __tvm_ffi_seconds(void*, const TVMFFIAny* given, int32_t, TVMFFIAny* result) {
  static volatile char* block = nullptr;
  static size_t room = 0;
  char name[1024];
  size_t flush = static_cast<size_t>(given[3].v_int64);
  if (flush > room) {
    free(const_cast<char*>(block));
    block = static_cast<char*>(malloc(flush));
    room = block == nullptr ? 0 : flush;
    if (block == nullptr) return fail("no memory to empty the caches");
  }
  TVMFFIAny function = {};
  CHECKED(function_of(given[0], text_of(&given[1], name, sizeof name), &function));
  int64_t spent_ns = 0, number = given[2].v_int64;
  int code = 0;
  for (int64_t call = 0; call < number && code == 0; call++) {
    for (size_t index = 0; index < flush; index += 16) block[index]++;
    TVMFFIAny returned = {};
    int64_t began_ns = now_ns();
    code = TVMFFIFunctionCall(function.v_obj, nullptr, 0, &returned);
    spent_ns += now_ns() - began_ns;
    if (code == 0) release(&returned);
  }
  release(&function);
  result->type_index = kTVMFFIFloat;
  result->v_float64 = spent_ns / 1e9 / number;
  return code;
}

// The VM's instrument as native code: one clock's reading and a few stores.
struct Stamp {
  int64_t time_ns;
  // What is called: by its address, which tells calls of a process apart.
  int64_t function;
  int64_t before;
  int64_t arguments;
};

static struct Stamp* stamps = nullptr;
static int64_t capacity = 0;
// Of all calls seen, also of those for which there was no room.
static int64_t count = 0;

static int stamp(void*, const TVMFFIAny* given, int32_t number, TVMFFIAny* result) {
  int64_t ended_ns = now_ns();
  int64_t before = given[2].v_int64, index = count++;
  *result = any_int(0);
  if (index < capacity) {
    stamps[index].function = given[0].v_int64;
    stamps[index].before = before;
    stamps[index].arguments = number - 4;
    // The last thing before a kernel is the clock, and the first thing after it.
    stamps[index].time_ns = before ? now_ns() : ended_ns;
  }
  return 0;
}

// What was called, in turn: a line for each call with its function's address and name, and, for each
// argument, a tensor's dtype, shape and address.
static char* lines = nullptr;
static size_t lines_size = 0, lines_room = 0;

static void write_text(const char* text) {
  size_t length = strlen(text);
  if (lines_size + length + 1 > lines_room)
    lines = static_cast<char*>(realloc(lines, lines_room = 2 * (lines_size + length + 1)));
  memcpy(lines + lines_size, text, length + 1);
  lines_size += length;
}

static int list(void*, const TVMFFIAny* given, int32_t number, TVMFFIAny* result) {
  *result = any_int(0);
  if (!given[2].v_int64) return 0;
  char name[1024], text[128];
  snprintf(text, sizeof text, "%lld ", static_cast<long long>(given[0].v_int64));
  write_text(text);
  write_text(text_of(&given[1], name, sizeof name));
  for (int32_t index = 4; index < number; index++) {
    const DLTensor* tensor = tensor_of(&given[index]);
    if (tensor == nullptr) {
      write_text(" -");
      continue;
    }
    char* first = static_cast<char*>(tensor->data) + tensor->byte_offset;
    snprintf(text, sizeof text, " %d.%d.%d@%lld", tensor->dtype.code, tensor->dtype.bits,
             tensor->dtype.lanes, static_cast<long long>(reinterpret_cast<intptr_t>(first)));
    write_text(text);
    for (int32_t dim = 0; dim < tensor->ndim; dim++) {
      snprintf(text, sizeof text, "%c%lld", dim ? ',' : ':',
               static_cast<long long>(tensor->shape[dim]));
      write_text(text);
    }
  }
  write_text("\n");
  return 0;
}

// Copies of the arguments of some calls, before and after each: those at `first` up to `last`.
static int64_t first = 0, last = -1, called = 0, depth = 0;
static int64_t under_way[64];
static TVMFFIAny* captured = nullptr;

static int copy_tensor(const TVMFFIAny* given, TVMFFIAny* copy) {
  const DLTensor* tensor = tensor_of(given);
  if (tensor == nullptr) return 0;
  TVMFFIAny sizes[16], shape = {}, none = {};
  if (tensor->ndim > 16) return fail("a tensor of more than 16 dimensions");
  for (int32_t dim = 0; dim < tensor->ndim; dim++) sizes[dim] = any_int(tensor->shape[dim]);
  CHECKED(call_global("ffi.Shape", sizes, tensor->ndim, &shape));
  TVMFFIAny dtype = {}, device = {};
  dtype.type_index = kTVMFFIDataType;
  dtype.v_dtype = tensor->dtype;
  device.type_index = kTVMFFIDevice;
  device.v_device = tensor->device;
  TVMFFIAny like[] = {shape, dtype, device, none};
  int code = call_global("runtime.TVMTensorAllocWithScope", like, 4, copy);
  release(&shape);
  CHECKED(code);
  TVMFFIAny both[] = {*given, *copy};
  return call_global("runtime.TVMTensorCopyFromTo", both, 2, &none);
}

static int capture(void*, const TVMFFIAny* given, int32_t number, TVMFFIAny* result) {
  *result = any_int(0);
  bool before = given[2].v_int64;
  if (before) {
    if (depth == 64) return fail("more than 64 calls within each other");
    under_way[depth++] = called++;
  }
  int64_t index = before ? called - 1 : under_way[--depth];
  if (index < first || index > last) return 0;
  TVMFFIAny* copies = static_cast<TVMFFIAny*>(calloc(number, sizeof(TVMFFIAny)));
  int code = 0;
  for (int32_t argument = 4; argument < number && code == 0; argument++)
    code = copy_tensor(&given[argument], &copies[argument]);
  if (code == 0)
    code = call_global("ffi.Array", copies + 4, number - 4,
                       &captured[2 * (index - first) + (before ? 0 : 1)]);
  for (int32_t argument = 4; argument < number; argument++) release(&copies[argument]);
  free(copies);
  return code;
}

static int instrument(TVMFFIAny module, TVMFFISafeCallType function) {
  TVMFFIAny set = {}, with = {}, none = {};
  CHECKED(function_of(module, "set_instrument", &set));
  int code = 0;
  if (function != nullptr) {
    TVMFFIObjectHandle object = nullptr;
    code = TVMFFIFunctionCreate(nullptr, function, nullptr, &object);
    if (code == 0) with = any_object(object);
  }
  if (code == 0) code = TVMFFIFunctionCall(set.v_obj, &with, 1, &none);
  release(&with);
  release(&set);
  return code;
}

// (module): ends what one of the next three began.
int __tvm_ffi_unwatch(void*, const TVMFFIAny* given, int32_t, TVMFFIAny*) {
  return instrument(given[0], nullptr);
}

// (module, stamps): note when calls begin and end, with room for so many stamps.
int __tvm_ffi_watch_times(void*, const TVMFFIAny* given, int32_t, TVMFFIAny*) {
  if (given[1].v_int64 > capacity) {
    free(stamps);
    stamps = static_cast<Stamp*>(malloc(given[1].v_int64 * sizeof(Stamp)));
    capacity = stamps == nullptr ? 0 : given[1].v_int64;
    if (stamps == nullptr) return fail("no memory for stamps");
    // A page that is touched for the first time takes its time.
    memset(stamps, 0, capacity * sizeof(Stamp));
  }
  count = 0;
  return instrument(given[0], stamp);
}

// () -> how many stamps there were, with or without room for them.
int __tvm_ffi_stamp_count(void*, const TVMFFIAny*, int32_t, TVMFFIAny* result) {
  *result = any_int(count);
  return 0;
}

int __tvm_ffi_stamps(void*, const TVMFFIAny*, int32_t, TVMFFIAny* result) {
  size_t taken = count < capacity ? count : capacity;
  TVMFFIByteArray bytes = {reinterpret_cast<const char*>(stamps), taken * sizeof(Stamp)};
  return TVMFFIBytesFromByteArray(&bytes, result);
}

// (module): note which functions are called.
int __tvm_ffi_watch_calls(void*, const TVMFFIAny* given, int32_t, TVMFFIAny*) {
  lines_size = 0;
  return instrument(given[0], list);
}

int __tvm_ffi_calls(void*, const TVMFFIAny*, int32_t, TVMFFIAny* result) {
  TVMFFIByteArray bytes = {lines, lines_size};
  return TVMFFIBytesFromByteArray(&bytes, result);
}

// (module, first, last): keep copies of the arguments of these calls, by their place in turn.
int __tvm_ffi_watch_arguments(void*, const TVMFFIAny* given, int32_t, TVMFFIAny*) {
  for (int64_t index = 0; index < 2 * (last - first + 1); index++) release(&captured[index]);
  free(captured);
  first = given[1].v_int64, last = given[2].v_int64, called = 0, depth = 0;
  captured = static_cast<TVMFFIAny*>(calloc(2 * (last - first + 1), sizeof(TVMFFIAny)));
  return instrument(given[0], capture);
}

// (call, after) -> Array of its arguments then, null for what isn't a tensor.
int __tvm_ffi_arguments(void*, const TVMFFIAny* given, int32_t, TVMFFIAny* result) {
  int64_t index = given[0].v_int64;
  if (index < first || index > last) return fail("these arguments were not kept");
  return TVMFFIAnyViewToOwnedAny(&captured[2 * (index - first) + given[1].v_int64], result);
}
}
