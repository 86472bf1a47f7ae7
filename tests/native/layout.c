/* Prints what tfcompress/native/delegate/tflite.h takes for granted, for the header that
   TFLITE_HEADER names: ours or the official one. */
#include <stddef.h>
#include <stdio.h>

#include TFLITE_HEADER

#define SIZE(type) printf("sizeof(%s) %zu\n", #type, sizeof(type))
#define FIELD(type, name) printf("%s.%s %zu\n", #type, #name, offsetof(type, name))
#define VALUE(name) printf("%s %d\n", #name, (int)(name))

int main(void) {
  FIELD(TfLiteIntArray, size);
  FIELD(TfLiteIntArray, data);
  FIELD(TfLiteFloatArray, size);
  FIELD(TfLiteFloatArray, data);

  SIZE(TfLiteAffineQuantization);
  FIELD(TfLiteAffineQuantization, scale);
  FIELD(TfLiteAffineQuantization, zero_point);
  FIELD(TfLiteAffineQuantization, quantized_dimension);

  SIZE(TfLiteTensor);
  FIELD(TfLiteTensor, type);
  FIELD(TfLiteTensor, data);
  FIELD(TfLiteTensor, dims);
  FIELD(TfLiteTensor, params.scale);
  FIELD(TfLiteTensor, params.zero_point);
  FIELD(TfLiteTensor, allocation_type);
  FIELD(TfLiteTensor, bytes);
  FIELD(TfLiteTensor, allocation);
  FIELD(TfLiteTensor, name);
  FIELD(TfLiteTensor, delegate);
  FIELD(TfLiteTensor, buffer_handle);
  FIELD(TfLiteTensor, data_is_stale);
  FIELD(TfLiteTensor, is_variable);
  FIELD(TfLiteTensor, quantization.type);
  FIELD(TfLiteTensor, quantization.params);
  FIELD(TfLiteTensor, sparsity);
  FIELD(TfLiteTensor, dims_signature);

  FIELD(TfLiteNode, inputs);
  FIELD(TfLiteNode, outputs);
  FIELD(TfLiteNode, intermediates);
  FIELD(TfLiteNode, temporaries);
  FIELD(TfLiteNode, user_data);
  FIELD(TfLiteNode, builtin_data);
  FIELD(TfLiteNode, custom_initial_data);
  FIELD(TfLiteNode, custom_initial_data_size);

  SIZE(TfLiteRegistration);
  FIELD(TfLiteRegistration, init);
  FIELD(TfLiteRegistration, free);
  FIELD(TfLiteRegistration, prepare);
  FIELD(TfLiteRegistration, invoke);
  FIELD(TfLiteRegistration, profiling_string);
  FIELD(TfLiteRegistration, builtin_code);
  FIELD(TfLiteRegistration, custom_name);
  FIELD(TfLiteRegistration, version);
  FIELD(TfLiteRegistration, registration_external);
  FIELD(TfLiteRegistration, async_kernel);
  FIELD(TfLiteRegistration, inplace_operator);

  FIELD(TfLiteContext, tensors_size);
  FIELD(TfLiteContext, GetExecutionPlan);
  FIELD(TfLiteContext, tensors);
  FIELD(TfLiteContext, impl_);
  FIELD(TfLiteContext, ResizeTensor);
  FIELD(TfLiteContext, ReportError);
  FIELD(TfLiteContext, AddTensors);
  FIELD(TfLiteContext, GetNodeAndRegistration);
  FIELD(TfLiteContext, ReplaceNodeSubsetsWithDelegateKernels);
  FIELD(TfLiteContext, recommended_num_threads);

  SIZE(TfLiteDelegateParams);
  FIELD(TfLiteDelegateParams, delegate);
  FIELD(TfLiteDelegateParams, nodes_to_replace);
  FIELD(TfLiteDelegateParams, input_tensors);
  FIELD(TfLiteDelegateParams, output_tensors);

  SIZE(TfLiteDelegate);
  FIELD(TfLiteDelegate, data_);
  FIELD(TfLiteDelegate, Prepare);
  FIELD(TfLiteDelegate, CopyFromBufferHandle);
  FIELD(TfLiteDelegate, CopyToBufferHandle);
  FIELD(TfLiteDelegate, FreeBufferHandle);
  FIELD(TfLiteDelegate, flags);
  FIELD(TfLiteDelegate, opaque_delegate_builder);

  VALUE(kTfLiteOk);
  VALUE(kTfLiteError);
  VALUE(kTfLiteMmapRo);
  VALUE(kTfLiteAffineQuantization);
  VALUE(kTfLiteDelegateFlagsAllowDynamicTensors);
  VALUE(kTfLiteBuiltinDelegate);
  VALUE(kTfLiteFloat32);
  VALUE(kTfLiteInt32);
  VALUE(kTfLiteInt8);
  return 0;
}
