output "cloud_init" {
  description = "What cloud-init reads. It holds no secret."
  value       = local.cloud_init
}

output "user_data" {
  description = "The same, as a machine's metadata has it."
  value       = base64gzip(local.cloud_init)
}

output "gpus" {
  description = "How many GPUs the shape has, by its name."
  value       = local.gpus
}
